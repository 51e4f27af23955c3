/**
 * Publishing, from messages to what became of each: where it goes, in which batches, and what a failure is told as. `publisher.ts` gets
 * a batch through.
 */
import { encodeEnvelope } from "../../protocol/envelope.ts";
import { newId } from "../../shared/ids.ts";
import { RedisAnswerError, RedisGoneError, RedisRefusedError } from "../../stores/redis/errors.ts";
import type { Outgoing, PublishFate, PublishOptions } from "../broker.ts";
import { BrokerRefusedError, BrokerTimeoutError, PublishError } from "../errors.ts";
import { type RedisContext, turn } from "./context.ts";
import { brokerError } from "./failures.ts";
import { type Batch, Publisher } from "./publisher.ts";
import type { QueueContents } from "./queue-contents.ts";
import type { Route, Router } from "./routing.ts";

/** One call of a publish: so many that a call costs little for each, so few that the next is made while Redis works on this one. */
const BATCH = 128;
const BATCH_BYTES = 4 * 1024 * 1024;

export class Sender {
  readonly #context: RedisContext;
  readonly #router: Router;
  readonly #contents: QueueContents;
  readonly #timeoutMs: number;
  readonly #publisher: Publisher;

  constructor(context: RedisContext, router: Router, contents: QueueContents, timeoutMs: number) {
    this.#context = context;
    this.#router = router;
    this.#contents = contents;
    this.#timeoutMs = timeoutMs;
    this.#publisher = new Publisher(context);
  }

  async publish(messages: readonly Outgoing[], { signal }: PublishOptions = {}): Promise<void> {
    if (signal) await this.#publish(messages, signal);
    else await this.#withDeadline(async (late) => await this.#publish(messages, late));
  }

  close(): void {
    this.#publisher.close();
  }

  async #publish(messages: readonly Outgoing[], signal: AbortSignal): Promise<void> {
    const [first] = messages as readonly [Outgoing];
    const route = messages.length === 1 ? this.#router.known(first) : undefined;
    const { fates, routes, cause } =
      route?.kind === "lists" ? await this.#sendOne(first, route, signal) : await this.#sendAll(messages, signal);
    if (fates.every((fate) => fate === "held")) return;
    const isFull = cause instanceof RedisAnswerError && cause.word === "OOM";
    throw new PublishError(
      this.#context.location,
      fates,
      isFull ? await this.#contents.outOfMemory(this.#queuesOf(routes), cause) : this.#publishCause(cause, signal),
    );
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
      if (routes.some(({ kind }) => kind === "channel"))
        for (const [member, fate] of await this.#toChannels(messages, routes, signal)) fates[member] = fate;
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
        if (!(error instanceof RedisGoneError)) throw error;
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
      this.#context.location,
      `no queue is bound to the exchange ${JSON.stringify(exchange)} for the routing key ${JSON.stringify(routingKey)}`,
    );
  }

  #queuesOf(routes: readonly Route[]): ReadonlySet<string> {
    const { prefix, separator } = this.#context.shard;
    const lists = routes.flatMap((route) => (route.kind === "lists" ? route.lists : []));
    return new Set(lists.map((list) => list.slice(prefix.length).split(separator, 1)[0] as string));
  }

  #publishCause(error: unknown, signal: AbortSignal): unknown {
    if (error instanceof RedisRefusedError) return brokerError(this.#context.location, error);
    const failure = this.#publisher.lastFailure;
    if (failure !== undefined) return brokerError(this.#context.location, failure);
    if (signal.aborted && (error === undefined || error === signal.reason)) return signal.reason;
    return brokerError(this.#context.location, error);
  }

  async #withDeadline(act: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const deadline = new AbortController();
    const late = (): void =>
      deadline.abort(new BrokerTimeoutError(this.#context.location, `a publish took longer than ${this.#timeoutMs} ms`));
    const timer = this.#context.clock.timer(this.#timeoutMs, late);
    try {
      await act(deadline.signal);
    } finally {
      timer.cancel();
    }
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
