/**
 * The Redis broker: Celery's lists and bindings on the wire, loans of our own (docs: architecture, "Redis").
 *
 * Connections of one process: one for commands; one more from the first publish; one more from the first broadcast subscription; while
 * a worker consumes, one for each list up to eight (queues x priority steps), and two more when it has more lists than that.
 */
import type { ResultBackend } from "../../results/result-backend.ts";
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { RedisConfigurationError } from "../../stores/redis/errors.ts";
import { listKey } from "../../stores/redis/keys.ts";
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
import { BrokerOutOfMemoryError } from "../errors.ts";
import { RedisBroadcast } from "./broadcast.ts";
import { RedisAggregates } from "./aggregates.ts";
import { RedisCheckpoints } from "./checkpoints.ts";
import { Consumer } from "./consumer.ts";
import type { RedisContext } from "./context.ts";
import { RedisDeadLetters } from "./dead-letters.ts";
import { RedisDueCallbacks } from "./due-callbacks.ts";
import { RedisDelayed } from "./delayed.ts";
import { type QueueList, RedisDelivery } from "./delivery.ts";
import { askingAgain } from "./failures.ts";
import { RedisFairness } from "./fairness.ts";
import { RedisGroupEnds } from "./group-ends.ts";
import { KombuSweep } from "./kombu-sweep.ts";
import { RedisLeases } from "./leases.ts";
import { RedisLimits } from "./limits.ts";
import { QueueLists } from "./lists.ts";
import { RedisPauses } from "./pauses.ts";
import { QueueContents } from "./queue-contents.ts";
import { RedisRevocations } from "./revocations.ts";
import { Router } from "./routing.ts";
import { RedisSearch } from "./search.ts";
import { Sender } from "./sender.ts";
import { WorkerSession } from "./session.ts";
import { Settler } from "./settler.ts";
import { RedisUniques } from "./uniques.ts";

/** The part of a publish's time that making its queue known waits for a connection: the rest is for telling why there is none. */
const BIND_WAIT = 3 / 4;

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
  readonly #contents: QueueContents;
  readonly #sender: Sender;
  readonly #settler: Settler;
  readonly #sessions = new Map<string, WorkerSession>();

  constructor(context: RedisContext, target: RedisTarget, options: RedisBrokerOptions) {
    this.location = context.location;
    this.#context = context;
    this.#target = target;
    this.#publishTimeoutMs = options.publishTimeoutMs;
    this.#router = new Router(context);
    this.#settler = new Settler(context, this.#router);
    this.groupEnds = new RedisGroupEnds(context, this.#router);
    this.leases = new RedisLeases(context, new KombuSweep(context, this.#router));
    this.uniques = new RedisUniques(context, this.#router);
    this.limits = new RedisLimits(
      context,
      (worker) => this.#session(worker),
      async (session, deliveries) => await this.#putBack(session, deliveries),
    );
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
    this.#contents = new QueueContents(context, this.fairness, this.aggregates);
    this.#sender = new Sender(context, this.#router, this.#contents, options.publishTimeoutMs);
  }

  async publish(messages: readonly Outgoing[], options: PublishOptions = {}): Promise<void> {
    if (messages.length > 0) await this.#sender.publish(messages, options);
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
      await this.#putBack(session, deliveries, signal);
    yield* new Consumer(this.#context, session, lists, options, giveBack, hearFanout).run();
  }

  async #putBack(session: WorkerSession, deliveries: readonly RedisDelivery[], signal?: AbortSignal): Promise<unknown> {
    const settlements = deliveries.map((delivery) => ({ delivery, end: { kind: "putBack" } as const }));
    return await this.#settler.settle(session, settlements, undefined, signal ? { signal } : {});
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
      throw await this.#contents.outOfMemory(new Set(queues.map(({ name }) => name)), error.cause);
    }
  }

  async depth(queues: readonly string[]): Promise<readonly QueueDepth[]> {
    return await this.#contents.depth(queues);
  }

  async purge(queue: string): Promise<number> {
    return await purgeWithLocks(this.uniques, this.search, queue, async () => await this.#contents.purge(queue));
  }

  settlesWith(backend: ResultBackend): boolean {
    return backend.sharedStore instanceof SharedRedis && backend.sharedStore.isOn(this.#target);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.broadcast.close();
    this.#sender.close();
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
}
