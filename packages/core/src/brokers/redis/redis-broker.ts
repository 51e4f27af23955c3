/**
 * The Redis broker: Celery's lists and bindings on the wire, loans of our own (docs: architecture, "Redis").
 *
 * Connections of one process: one for commands; one more from the first publish; one more from the first broadcast subscription; while
 * a worker consumes, one for each list up to eight (queues x priority steps), and two more when it has more lists than that.
 */
import { encodeEnvelope } from "../../protocol/envelope.ts";
import type { ResultBackend } from "../../results/result-backend.ts";
import { newId } from "../../shared/ids.ts";
import { asNumber } from "../../stores/redis/answers.ts";
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { RedisAnswerError, RedisConfigurationError, RedisRefusedError } from "../../stores/redis/errors.ts";
import { deadIndexKey, dueKey, limitLineKey, limitTurnsKey, listKey, parkedKey } from "../../stores/redis/keys.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import { SharedRedis } from "../../stores/redis/shared-redis.ts";
import type { RedisTarget } from "../../stores/redis/target.ts";
import type {
  Broker,
  Checkpoints,
  ConsumeOptions,
  DeadLetters,
  DelayedQueue,
  Delivery,
  GroupEnds,
  DueCallbacks,
  Leases,
  Outgoing,
  PublishFate,
  PublishOptions,
  QueueDepth,
  QueueSpec,
  RevocationCaps,
  Revocations,
  SettleAnswer,
  Settlement,
  SettleOptions,
} from "../broker.ts";
import { purgeWithLocks } from "../uniques.ts";
import { BrokerOutOfMemoryError, BrokerRefusedError, BrokerTimeoutError, BrokerUnavailableError, PublishError } from "../errors.ts";
import { RedisBroadcast } from "./broadcast.ts";
import { RedisAggregates } from "./aggregates.ts";
import { RedisCheckpoints } from "./checkpoints.ts";
import { Consumer } from "./consumer.ts";
import { type RedisContext, turn } from "./context.ts";
import { RedisDeadLetters } from "./dead-letters.ts";
import { RedisDueCallbacks } from "./due-callbacks.ts";
import { RedisDelayed } from "./delayed.ts";
import { type QueueList, RedisDelivery } from "./delivery.ts";
import { asking, askingAgain, brokerError } from "./failures.ts";
import { RedisFairness } from "./fairness.ts";
import { RedisGroupEnds } from "./group-ends.ts";
import { KombuSweep } from "./kombu-sweep.ts";
import { RedisLeases } from "./leases.ts";
import { RedisLimits } from "./limits.ts";
import { QueueLists } from "./lists.ts";
import { RedisPauses } from "./pauses.ts";
import { type Batch, Publisher } from "./publisher.ts";
import { RedisRevocations } from "./revocations.ts";
import { type Route, Router } from "./routing.ts";
import { RedisSearch } from "./search.ts";
import { WorkerSession } from "./session.ts";
import { Settler } from "./settler.ts";
import { RedisUniques } from "./uniques.ts";

const purgeScript = loadScript("purge");

/** One call of a publish: so many that a call costs little for each, so few that the next is made while Redis works on this one. */
const BATCH = 128;
const BATCH_BYTES = 4 * 1024 * 1024;
/** The part of a publish's time that making its queue known waits for a connection: the rest is for telling why there is none. */
const BIND_WAIT = 3 / 4;
/** Queues whose depth an error tells. */
const DEPTHS_MAX = 16;

export interface RedisBrokerOptions {
  readonly publishTimeoutMs: number;
  readonly revocationCaps: RevocationCaps;
}

export class RedisBroker implements Broker {
  readonly kind = "redis";
  readonly location: string;
  readonly leases: Leases;
  readonly delayed: DelayedQueue;
  readonly broadcast: RedisBroadcast;
  readonly deadLetters: DeadLetters;
  readonly revocations: Revocations;
  readonly fairness: RedisFairness;
  readonly groupEnds: GroupEnds;
  readonly dueCallbacks: DueCallbacks;
  readonly pauses: RedisPauses;
  readonly checkpoints: Checkpoints;
  readonly aggregates: RedisAggregates;
  readonly search: RedisSearch;
  readonly limits: RedisLimits;
  readonly uniques: RedisUniques;
  readonly #context: RedisContext;
  readonly #target: RedisTarget;
  readonly #publishTimeoutMs: number;
  readonly #router: Router;
  readonly #publisher: Publisher;
  readonly #settler: Settler;
  readonly #sessions = new Map<string, WorkerSession>();

  constructor(context: RedisContext, target: RedisTarget, options: RedisBrokerOptions) {
    this.location = context.location;
    this.#context = context;
    this.#target = target;
    this.#publishTimeoutMs = options.publishTimeoutMs;
    this.#router = new Router(context);
    this.#publisher = new Publisher(context);
    this.#settler = new Settler(context, this.#router);
    this.groupEnds = new RedisGroupEnds(context, this.#router);
    this.leases = new RedisLeases(context, new KombuSweep(context, this.#router));
    this.uniques = new RedisUniques(context, this.#router);
    this.limits = new RedisLimits(context, (worker) => this.#session(worker));
    this.delayed = new RedisDelayed(context, this.limits);
    this.broadcast = new RedisBroadcast(context);
    this.deadLetters = new RedisDeadLetters(context);
    this.search = new RedisSearch(context);
    this.dueCallbacks = new RedisDueCallbacks(context, this.#router);
    this.pauses = new RedisPauses(context, this.broadcast);
    this.fairness = new RedisFairness(context);
    this.revocations = new RedisRevocations(context, options.revocationCaps);
    this.checkpoints = new RedisCheckpoints(context, (delivery) => this.#holder(delivery)?.loansKey);
    this.aggregates = new RedisAggregates(context, (delivery) => this.#holder(delivery));
  }

  async publish(messages: readonly Outgoing[], options: PublishOptions = {}): Promise<void> {
    if (messages.length === 0) return;
    await this.#withDeadline(options.signal, async (signal) => {
      const [first] = messages as readonly [Outgoing];
      const route = messages.length === 1 ? this.#router.known(first) : undefined;
      const { fates, routes, cause } =
        route?.kind === "lists" ? await this.#sendOne(first, route, signal) : await this.#sendAll(messages, signal);
      if (fates.every((fate) => fate === "held")) return;
      const isFull = cause instanceof RedisAnswerError && cause.word === "OOM";
      throw new PublishError(
        this.location,
        fates,
        isFull ? await this.#outOfMemory(this.#queuesOf(routes), cause) : this.#publishCause(cause, signal),
      );
    });
  }

  async *consume(queues: readonly string[], options: ConsumeOptions): AsyncGenerator<readonly Delivery[], void, undefined> {
    if (queues.length === 0) throw new RedisConfigurationError("a consumer needs at least one queue");
    const broken = queues.find((queue) => queue === "" || queue.includes("\n"));
    if (broken !== undefined)
      throw new RedisConfigurationError(`a queue's name cannot be empty or hold a line break: ${JSON.stringify(broken)}`);
    const session = this.#session(options.worker);
    const fanouts = queues.flatMap((queue) => this.#router.fanoutOf(queue) ?? []);
    const lists = new QueueLists(
      this.#context.shard,
      this.#context.options,
      queues.filter((queue) => !fanouts.some(({ name }) => name === queue)),
      options.fair,
      options.order,
    );
    const hearFanout = (hear: (source: QueueList, raw: Buffer) => void): void => {
      for (const { name, exchange, routingKey } of fanouts) {
        const source = { queue: name, list: listKey(this.#context.shard, name, 0) };
        this.broadcast.listen(exchange, routingKey, options.signal, (_message, raw) => hear(source, raw));
      }
    };
    const giveBack = async (deliveries: readonly RedisDelivery[], signal: AbortSignal): Promise<unknown> =>
      await this.#settler.settle(
        session,
        deliveries.map((delivery) => ({ delivery, end: { kind: "putBack" } })),
        undefined,
        { signal },
      );
    yield* new Consumer(this.#context, session, lists, options, giveBack, hearFanout).run();
  }

  async settle(settlements: readonly Settlement[], options: SettleOptions = {}): Promise<readonly SettleAnswer[]> {
    if (settlements.length === 0) return [];
    const results = this.#resultsOf(settlements, options.backend);
    const [first] = this.#sessions.values();
    if (this.#sessions.size === 1) return await this.#settler.settle(first as WorkerSession, settlements, results, options);
    const answers: SettleAnswer[] = settlements.map(() => "lost");
    await Promise.all(
      Array.from(this.#sessions.values(), async (session) => {
        const members = settlements.flatMap(({ delivery }, i) =>
          delivery instanceof RedisDelivery && session.isOutstanding(delivery) ? [i] : [],
        );
        if (members.length === 0) return;
        const told = await this.#settler.settle(
          session,
          members.map((i) => settlements[i] as Settlement),
          results,
          options,
        );
        members.forEach((i, at) => (answers[i] = told[at] as SettleAnswer));
      }),
    );
    return answers;
  }

  async bind(queues: readonly QueueSpec[]): Promise<void> {
    const declare = async (connection: RedisConnection): Promise<void> => await this.#router.declare(connection, queues);
    try {
      await askingAgain(this.#context, declare, BIND_WAIT * this.#publishTimeoutMs);
    } catch (error) {
      if (!(error instanceof BrokerOutOfMemoryError)) throw error;
      throw await this.#outOfMemory(new Set(queues.map(({ name }) => name)), error.cause);
    }
  }

  async depth(queues: readonly string[]): Promise<readonly QueueDepth[]> {
    const { shard } = this.#context;
    return await askingAgain(
      this.#context,
      async (connection) =>
        await Promise.all(
          queues.map(async (queue) => {
            const [sorted, folded, parked, waiting, dead, ...ready] = await Promise.all([
              this.fairness.waiting(connection, queue),
              this.aggregates.waiting(connection, queue),
              connection.command("ZCARD", [parkedKey(shard, queue)]),
              connection.command("ZCARD", [limitLineKey(shard, queue)]),
              connection.command("ZCARD", [deadIndexKey(shard, queue)]),
              ...this.#listsOf(queue).map(async (list) => await connection.command("LLEN", [list])),
            ]);
            return {
              queue,
              ready: ready.reduce<number>((sum, length) => sum + asNumber(length), sorted),
              parked: asNumber(parked) + asNumber(waiting) + folded,
              dead: asNumber(dead),
            };
          }),
        ),
    );
  }

  async purge(queue: string): Promise<number> {
    return await purgeWithLocks(this.uniques, this.search, queue, async () => await this.#purge(queue));
  }

  async #purge(queue: string): Promise<number> {
    const { shard } = this.#context;
    const keys = [parkedKey(shard, queue), dueKey(shard), limitLineKey(shard, queue), limitTurnsKey(shard, queue), ...this.#listsOf(queue)];
    return await asking(this.#context, async (connection) => {
      const sorted = await this.fairness.purge(connection, queue);
      const folded = await this.aggregates.purge(connection, queue);
      return sorted + folded + asNumber(await connection.script(purgeScript, keys, [queue]));
    });
  }

  settlesWith(backend: ResultBackend): boolean {
    return backend.sharedStore instanceof SharedRedis && backend.sharedStore.isOn(this.#target);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.broadcast.close();
    this.#publisher.close();
    this.#context.commands.close();
    this.#context.closeShared();
  }

  #holder(delivery: RedisDelivery): WorkerSession | undefined {
    for (const session of this.#sessions.values()) if (session.isOutstanding(delivery)) return session;
    return undefined;
  }

  #session(worker: string): WorkerSession {
    const session = this.#sessions.get(worker) ?? new WorkerSession(this.#context, worker);
    this.#sessions.set(worker, session);
    return session;
  }

  #resultsOf(settlements: readonly Settlement[], backend: ResultBackend | undefined): SharedRedis | undefined {
    const shared = backend?.sharedStore;
    if (shared instanceof SharedRedis && shared.isOn(this.#target)) return shared;
    if (settlements.some(({ results }) => results !== undefined && results.length > 0)) {
      throw new RedisConfigurationError(
        "results can be settled in one step only with a backend on the broker's own server (see settlesWith)",
      );
    }
    return undefined;
  }

  /** The call of a producer that waits for each, without what many need. */
  async #sendOne({ message, exchange, routingKey }: Outgoing, route: ListsRoute, signal: AbortSignal): Promise<Sent> {
    const texts = [encodeEnvelope(message, { exchange, routingKey }, newId())];
    const { fate, cause } = await this.#publisher.publish(new Map(route.lists.map((list) => [list, texts])), signal);
    return { fates: [fate], routes: [route], cause };
  }

  /** Never rejects. */
  async #sendAll(messages: readonly Outgoing[], signal: AbortSignal): Promise<Sent> {
    const fates: PublishFate[] = messages.map(() => "refused");
    let routes: readonly Route[] = [];
    let cause: unknown;
    try {
      routes = await this.#routes(messages, signal);
      const send = async ({ batch, members }: PlannedBatch): Promise<void> => {
        const told = await this.#publisher.publish(batch, signal);
        for (const member of members) fates[member] = told.fate;
        if (told.fate !== "held") cause ??= told.cause;
      };
      const sent: Promise<void>[] = [];
      try {
        for (const planned of planBatches(messages, routes)) {
          if (sent.length > 0) await turn(); // Redis works on what is written while the next is made
          sent.push(send(planned));
        }
      } finally {
        await Promise.all(sent);
      }
      const channels = await this.#toChannels(messages, routes, signal);
      for (const [member, fate] of channels) fates[member] = fate;
      const nowhere = routes.findIndex((route) => route.kind === "nowhere");
      if (nowhere !== -1) cause ??= this.#unrouted(messages[nowhere] as Outgoing);
    } catch (error) {
      cause ??= error;
    }
    return { fates, routes, cause };
  }

  async #routes(messages: readonly Outgoing[], signal: AbortSignal): Promise<readonly Route[]> {
    const known = messages.map((message) => this.#router.known(message));
    if (known.every((route) => route !== undefined)) return known;
    for (;;) {
      try {
        return await this.#router.routes(await this.#publisher.connection(signal), messages);
      } catch (error) {
        signal.throwIfAborted();
        if (!(brokerError(this.location, error) instanceof BrokerUnavailableError)) throw error;
      }
    }
  }

  /** Nobody keeps what goes to a channel, so that sending it twice would be worse than not knowing. */
  async #toChannels(
    messages: readonly Outgoing[],
    routes: readonly Route[],
    signal: AbortSignal,
  ): Promise<readonly (readonly [number, PublishFate])[]> {
    return await Promise.all(
      routes
        .flatMap((route, member) => (route.kind === "channel" ? [{ route, member }] : []))
        .map(async ({ route, member }) => {
          const { message, exchange, routingKey } = messages[member] as Outgoing;
          const connection = await this.#publisher.connection(signal);
          try {
            await connection.command("PUBLISH", [route.channel, encodeEnvelope(message, { exchange, routingKey }, newId())]);
            return [member, "held"] as const;
          } catch {
            return [member, "unknown"] as const;
          }
        }),
    );
  }

  #unrouted({ exchange, routingKey }: Outgoing): BrokerRefusedError {
    return new BrokerRefusedError(
      this.location,
      `no queue is bound to the exchange ${JSON.stringify(exchange)} for the routing key ${JSON.stringify(routingKey)}`,
    );
  }

  #queuesOf(routes: readonly Route[]): ReadonlySet<string> {
    const { prefix, separator } = this.#context.shard;
    const lists = routes.flatMap((route) => (route.kind === "lists" ? route.lists : []));
    return new Set(lists.map((list) => list.slice(prefix.length).split(separator, 1)[0] as string));
  }

  async #outOfMemory(queues: ReadonlySet<string>, cause: unknown): Promise<BrokerOutOfMemoryError> {
    const depths = await this.depth([...queues].slice(0, DEPTHS_MAX)).catch(() => []); // it is the refusal that counts
    return new BrokerOutOfMemoryError(this.location, depths, cause);
  }

  #publishCause(error: unknown, signal: AbortSignal): unknown {
    if (error instanceof RedisRefusedError) return brokerError(this.location, error);
    const failure = this.#publisher.lastFailure;
    if (failure !== undefined) return brokerError(this.location, failure);
    if (signal.aborted && (error === undefined || error === signal.reason)) return signal.reason;
    return brokerError(this.location, error);
  }

  async #withDeadline<T>(signal: AbortSignal | undefined, act: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (signal) return await act(signal);
    const deadline = new AbortController();
    const late = (): void =>
      deadline.abort(new BrokerTimeoutError(this.location, `a publish took longer than ${this.#publishTimeoutMs} ms`));
    const timer = this.#context.clock.timer(this.#publishTimeoutMs, late);
    try {
      return await act(deadline.signal);
    } finally {
      timer.cancel();
    }
  }

  #listsOf(queue: string): readonly string[] {
    return this.#context.options.prioritySteps.map((step) => listKey(this.#context.shard, queue, step));
  }
}

type ListsRoute = Extract<Route, { kind: "lists" }>;

/** What became of each message, and why of those that are not held. */
interface Sent {
  readonly fates: readonly PublishFate[];
  readonly routes: readonly Route[];
  readonly cause: unknown;
}

interface PlannedBatch {
  readonly batch: Batch;
  /** Indexes of its messages. */
  readonly members: readonly number[];
}

/** All copies of a message are in one batch, so that it is held by all of its queues or by none. */
function* planBatches(messages: readonly Outgoing[], routes: readonly Route[]): Generator<PlannedBatch, void, undefined> {
  let current: { batch: Map<string, string[]>; members: number[] } | undefined;
  let bytes = 0;
  let copies = 0;
  for (const [member, outgoing] of messages.entries()) {
    const route = routes[member];
    if (route?.kind !== "lists") continue;
    const envelope = encodeEnvelope(outgoing.message, { exchange: outgoing.exchange, routingKey: outgoing.routingKey }, newId());
    const size = envelope.length * route.lists.length;
    if (!current || bytes + size > BATCH_BYTES || copies + route.lists.length > BATCH) {
      if (current) yield current;
      current = { batch: new Map(), members: [] };
      bytes = 0;
      copies = 0;
    }
    bytes += size;
    copies += route.lists.length;
    current.members.push(member);
    for (const list of route.lists) {
      const texts = current.batch.get(list);
      if (texts) texts.push(envelope);
      else current.batch.set(list, [envelope]);
    }
  }
  if (current) yield current;
}
