/**
 * A broker in this process's memory: for tests, and for what need not outlive the process. It keeps every promise of
 * the others as long as the process lives, takes its time from the clock it is given, and does nothing by chance.
 */
import { decodeEnvelope, encodeEnvelope, markRedelivered } from "../../protocol/envelope.ts";
import type { Message } from "../../protocol/message.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ResultBackend } from "../../results/result-backend.ts";
import type { Clock } from "../../shared/clock.ts";
import { newId } from "../../shared/ids.ts";
import type {
  Broadcast, Broker, ConsumeOptions, DeadLetterPage, DeadLetterRecord, DeadLetters, DelayedQueue, Delivery, LeaseInfo,
  Leases, LeaseState, LoanId, OpenedDelivery, Outgoing, PublishFate, QueueDepth, QueueSpec, SettleAnswer,
  SettleOptions, Settlement, SweepOptions, SweepReport,
} from "../broker.ts"; // prettier-ignore
import { BrokerRefusedError, PublishError } from "../errors.ts";
import { Inbox } from "../inbox.ts";
import { topicMatches } from "../topic.ts";
import type { Entry, Loan, MemoryStore } from "./store.ts";
import type { MemorySpec } from "./spec.ts";

const DEAD_LETTERS_KEPT = 10_000;
const MAX_BATCH_BYTES = 16 * 1024 * 1024;
/** How often a consumer that waits says that it is alive. */
const ALIVE_MS = 2000;

export class MemoryBroker implements Broker {
  readonly kind = "memory";
  readonly location: string;
  readonly leases: Leases;
  readonly delayed: DelayedQueue;
  readonly broadcast: Broadcast;
  readonly deadLetters: DeadLetters;
  readonly #store: MemoryStore;
  readonly #clock: Clock;
  readonly #keep: number;
  readonly #closed = new AbortController();

  constructor(spec: MemorySpec, store: MemoryStore, clock: Clock) {
    this.location = `memory://${spec.name}`;
    this.#store = store;
    this.#clock = clock;
    this.#keep = spec.deadLetterMax ?? DEAD_LETTERS_KEPT;
    this.leases = {
      renew: async (worker, durationMs) => this.#renew(worker, durationMs),
      sweep: async (options) => this.#sweep(options),
      release: async (worker) => this.#release(worker),
      list: async () => this.#leases(),
    };
    this.delayed = {
      unpark: async () => store.unpark(clock.now()),
      flush: async (queue) => store.unpark(Infinity, queue).moved,
    };
    this.broadcast = {
      publish: async (message, exchange, routingKey) => this.#tell(message, exchange, routingKey),
      subscribe: (exchange, pattern, signal) => this.#subscribe(exchange, pattern, signal),
    };
    this.deadLetters = {
      page: async (queue, options) => this.#deadPage(queue, options),
      restore: async (queue, id) => this.#restore(queue, id),
      purge: async (queue) => {
        const dead = store.dead(queue);
        const count = dead.size;
        dead.clear();
        return count;
      },
    };
  }

  async publish(messages: readonly Outgoing[]): Promise<void> {
    const fates = messages.map((outgoing): PublishFate => (this.#put(outgoing) ? "held" : "refused"));
    if (!fates.includes("refused")) return;
    const { exchange, routingKey } = messages[fates.indexOf("refused")] as Outgoing;
    const answer = `no queue is bound to the exchange "${exchange}" for the routing key "${routingKey}"`;
    throw new PublishError(this.location, fates, new BrokerRefusedError(this.location, answer));
  }

  /** Puts a text in a queue as it is, as a foreign producer might: for tests of what cannot be decoded. */
  inject(queue: string, raw: string | Uint8Array): void {
    this.#store.add(queue, raw, 0);
  }

  async *consume(queues: readonly string[], options: ConsumeOptions): AsyncGenerator<readonly Delivery[], void, undefined> {
    const { worker, credit, events, maxBatchBytes = MAX_BATCH_BYTES } = options;
    const signal = AbortSignal.any([options.signal, this.#closed.signal]);
    this.#loseLoansOfPredecessor(worker);
    events?.connected?.();
    while (!signal.aborted) {
      try {
        await credit.whenFree(signal);
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
      const loans = signal.aborted ? [] : this.#store.reserve(this, worker, queues, credit.free(), maxBatchBytes);
      events?.alive?.();
      if (loans.length > 0) yield loans.map((loan) => new MemoryDelivery(loan, worker));
      else await this.#messageFor(queues, signal);
    }
  }

  async settle(settlements: readonly Settlement[], options: SettleOptions = {}): Promise<readonly SettleAnswer[]> {
    const stored: Promise<void>[] = [];
    const answers = settlements.map(({ delivery, end, results, publish }): SettleAnswer => {
      const { worker, loan } = delivery as MemoryDelivery; // only this driver's deliveries can be settled here
      const entry = this.#store.endLoan(worker, loan);
      if (entry === undefined) return "lost";
      // A memory backend has stored when `store` returns its promise: nothing can come between.
      if (results !== undefined && options.backend !== undefined) stored.push(options.backend.store(results));
      for (const outgoing of publish ?? []) this.#put(outgoing);
      switch (end.kind) {
        case "ack":
          break;
        case "requeue":
          entry.raw = redelivered(entry.raw);
          this.#store.putBack(entry, end.to);
          break;
        case "putBack":
          this.#store.putBack(entry, "front");
          break;
        case "park":
          if (end.message !== undefined) entry.raw = replaced(entry.raw, end.message);
          this.#store.park(entry, end.dueAt);
          break;
        case "deadLetter":
          this.#store.bury(entry, end.record, this.#keep);
          break;
      }
      return "settled";
    });
    await Promise.all(stored);
    return answers;
  }

  async bind(queues: readonly QueueSpec[]): Promise<void> {
    for (const spec of queues) this.#store.bind(spec);
  }

  async depth(queues: readonly string[]): Promise<readonly QueueDepth[]> {
    return queues.map((queue) => this.#store.depth(queue));
  }

  async purge(queue: string): Promise<number> {
    return this.#store.purge(queue);
  }

  settlesWith(backend: ResultBackend): boolean {
    return backend.kind === "memory";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new BrokerRefusedError(this.location, "it was closed"));
  }

  #put({ message, exchange, routingKey }: Outgoing): boolean {
    const queues = this.#store.route(exchange, routingKey);
    if (queues.length === 0) return false;
    const raw = encodeEnvelope(message, { exchange, routingKey }, newId());
    for (const queue of queues) this.#store.add(queue, raw, message.properties.priority);
    return true;
  }

  async #messageFor(queues: readonly string[], signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        forget();
        timer.cancel();
        signal.removeEventListener("abort", done);
        resolve();
      };
      const forget = this.#store.onMessage(queues, done);
      const timer = this.#clock.timer(ALIVE_MS, done, { background: true });
      signal.addEventListener("abort", done, { once: true });
      if (signal.aborted) done();
    });
  }

  /** A name is unique among live workers: loans under it that this object did not make were its predecessor's. */
  #loseLoansOfPredecessor(worker: string): void {
    const { loans } = this.#store.worker(worker);
    const lost = [...loans.values()].filter(({ holder }) => holder !== this);
    for (const { id } of lost) loans.delete(id);
    this.#lose(worker, lost, Infinity);
  }

  #renew(worker: string, durationMs: number): LeaseState {
    const state = this.#store.worker(worker);
    const held = !state.lost;
    state.lost = false;
    state.leaseEnds = this.#clock.monotonic() + durationMs;
    return { held, clockOffsetMs: 0 };
  }

  #sweep({ maxDeliveries }: SweepOptions): SweepReport {
    const total = { returned: 0, deadLettered: 0, workers: [] as string[] };
    for (const [name, state] of this.#store.workers()) {
      if (state.leaseEnds === undefined || state.leaseEnds > this.#clock.monotonic()) continue;
      const lost = [...state.loans.values()];
      state.loans.clear();
      state.leaseEnds = undefined;
      state.lost = true;
      const { returned, deadLettered } = this.#lose(name, lost, maxDeliveries);
      total.returned += returned;
      total.deadLettered += deadLettered;
      total.workers.push(name);
    }
    return total;
  }

  #lose(worker: string, loans: readonly Loan[], maxDeliveries: number): SweepReport {
    const poison = (entry: Entry): DeadLetterRecord | undefined => {
      if (entry.losses >= maxDeliveries) return poisonRecord(entry, worker, this.#clock.now());
      entry.raw = redelivered(entry.raw);
      return undefined;
    };
    return this.#store.lose(loans, poison, this.#keep);
  }

  #release(worker: string): number {
    const loans = [...this.#store.worker(worker).loans.values()];
    this.#store.forgetWorker(worker);
    for (const { entry } of loans.toReversed()) {
      entry.raw = redelivered(entry.raw);
      this.#store.putBack(entry, "front");
    }
    return loans.length;
  }

  #leases(): LeaseInfo[] {
    const offset = this.#clock.now() - this.#clock.monotonic();
    return [...this.#store.workers()].flatMap(([worker, { leaseEnds, loans }]) =>
      leaseEnds === undefined ? [] : [{ worker, endsAt: leaseEnds + offset, loans: loans.size }],
    );
  }

  #tell(message: Message, exchange: string, routingKey: string): void {
    for (const subscription of this.#store.subscriptions) {
      const meant = subscription.exchange === exchange && topicMatches(subscription.pattern, routingKey);
      if (meant) subscription.inbox.push(message);
    }
  }

  #subscribe(exchange: string, pattern: string, until: AbortSignal): AsyncIterable<Message> {
    const signal = AbortSignal.any([until, this.#closed.signal]);
    const inbox = new Inbox<Message>(signal);
    const subscription = { exchange, pattern, inbox };
    if (signal.aborted) return inbox;
    this.#store.subscriptions.add(subscription);
    signal.addEventListener("abort", () => this.#store.subscriptions.delete(subscription), { once: true });
    return inbox;
  }

  #deadPage(queue: string, options: { readonly limit: number; readonly cursor?: string }): DeadLetterPage {
    const newestFirst = [...this.#store.dead(queue).values()].toReversed();
    const after = options.cursor === undefined ? -1 : newestFirst.findIndex(({ id }) => id === options.cursor);
    const entries = newestFirst.slice(after + 1, after + 1 + options.limit);
    const more = after + 1 + entries.length < newestFirst.length;
    return { entries, cursor: more ? entries.at(-1)?.id : undefined };
  }

  #restore(queue: string, id: string): boolean {
    const dead = this.#store.dead(queue);
    const letter = dead.get(id);
    if (letter === undefined) return false;
    dead.delete(id);
    this.#store.add(queue, letter.raw, priorityOf(letter.raw));
    return true;
  }
}

class MemoryDelivery implements Delivery {
  readonly loan: LoanId;
  readonly queue: string;
  readonly losses: number;
  readonly raw: string | Uint8Array;
  readonly worker: string;
  #opened: OpenedDelivery | undefined;

  constructor({ id, entry }: Loan, worker: string) {
    this.loan = id as LoanId; // made here and nowhere else
    this.queue = entry.queue;
    this.losses = entry.losses;
    this.raw = entry.raw;
    this.worker = worker;
  }

  open(): OpenedDelivery {
    return (this.#opened ??= decodeEnvelope(this.raw));
  }
}

/** Marks what can be marked; what is no envelope stays as it is. */
function redelivered(raw: string | Uint8Array): string | Uint8Array {
  if (typeof raw !== "string") return raw;
  return ifDecodable(() => markRedelivered(raw), raw);
}

/** The same envelope with another message in it: its address and delivery tag stay. */
function replaced(raw: string | Uint8Array, message: Message): string {
  const { info, deliveryTag } = decodeEnvelope(raw);
  const text = encodeEnvelope(message, info, deliveryTag);
  return info.redelivered ? markRedelivered(text) : text;
}

function priorityOf(raw: string | Uint8Array): number {
  return ifDecodable(() => decodeEnvelope(raw).message.properties.priority, 0);
}

function poisonRecord(entry: Entry, worker: string, at: number): DeadLetterRecord {
  const headers = ifDecodable(() => decodeEnvelope(entry.raw).message.headers, {});
  const { id, task, retries } = headers;
  return {
    id: typeof id === "string" ? id : newId(),
    task: typeof task === "string" ? task : undefined,
    reason: "poison",
    error: `lost ${entry.losses} times with the worker that held it`,
    worker,
    at,
    losses: entry.losses,
    retries: typeof retries === "number" ? retries : 0,
  };
}

function ifDecodable<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof ProtocolError) return otherwise;
    throw error;
  }
}
