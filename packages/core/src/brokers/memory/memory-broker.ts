/**
 * A broker in this process's memory: for tests, and for what need not outlive the process. It keeps every promise of
 * the others as long as the process lives, takes its time from the clock it is given, and does nothing by chance.
 */
import { decodeEnvelope, encodeEnvelope } from "../../protocol/envelope.ts";
import type { Message } from "../../protocol/message.ts";
import type { ResultBackend } from "../../results/result-backend.ts";
import type { Clock, Timer } from "../../shared/clock.ts";
import { newId } from "../../shared/ids.ts";
import { silentLogger, type Logger } from "../../shared/log.ts";
import type { Aggregates } from "../aggregates.ts";
import type {
  Broadcast, Broker, Checkpoints, ConsumeOptions, DeadLetterCaps, DeadLetters, DelayedQueue, Delivery, DueCallbacks, GroupEnd, GroupEndAnswer, GroupEnds, LeaseInfo,
  Leases, LeaseState, LoanId, OpenedDelivery, Outgoing, PublishFate, PublishOptions, QueueDepth, QueueSpec, Revocations,
  SettleAnswer, SettleOptions, Settlement, SubscriptionEvents, SweepOptions, SweepReport,
} from "../broker.ts"; // prettier-ignore
import { BrokerRefusedError, PublishError } from "../errors.ts";
import { poisonRecord, redelivered, replaced } from "../envelope-edits.ts";
import { deadLetterCaps } from "../dead-letter-filter.ts";
import type { Fairness } from "../fairness.ts";
import { Inbox } from "../inbox.ts";
import { countByQueue, QueueTurns } from "../queue-order.ts";
import type { PausedQueues } from "../queue-pauses.ts";
import { LimitsByLedger } from "../limits-by-ledger.ts";
import type { Limits } from "../limits.ts";
import { openRepliesByFanout } from "../replies-by-fanout.ts";
import { revocationCaps } from "../revocation-caps.ts";
import type { MessageSearch } from "../search.ts";
import { topicMatches } from "../topic.ts";
import { MemoryAggregates } from "./aggregates.ts";
import { MemoryCheckpoints } from "./checkpoints.ts";
import { MemoryDeadLetters } from "./dead-letters.ts";
import { MemoryPauses } from "./pauses.ts";
import { memoryFairness } from "./fairness.ts";
import { freeingStep, purgeWithLocks } from "../uniques.ts";
import { MemoryUniques } from "./uniques.ts";
import { MemoryRevocations } from "./revocations.ts";
import type { Entry, Loan, MemoryStore } from "./store.ts";
import type { MemorySpec } from "./spec.ts";

const MAX_BATCH_BYTES = 16 * 1024 * 1024;
/** How often a consumer that waits says that it is alive. */
const ALIVE_MS = 2000;

export interface MemoryDeps {
  readonly clock: Clock;
  /** Default: says nothing. */
  readonly logger?: Logger;
}

export class MemoryBroker implements Broker {
  readonly kind = "memory";
  readonly location: string;
  readonly leases: Leases;
  readonly delayed: DelayedQueue;
  readonly broadcast: Broadcast;
  readonly deadLetters: DeadLetters;
  readonly dueCallbacks: DueCallbacks;
  readonly search: MessageSearch;
  readonly revocations: Revocations;
  readonly groupEnds: GroupEnds;
  readonly pauses: MemoryPauses;
  readonly fairness: Fairness;
  readonly checkpoints: Checkpoints;
  readonly aggregates: Aggregates;
  readonly limits: Limits;
  readonly uniques: MemoryUniques;
  readonly #store: MemoryStore;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #caps: DeadLetterCaps;
  readonly #closed = new AbortController();

  constructor(spec: MemorySpec, store: MemoryStore, { clock, logger = silentLogger }: MemoryDeps) {
    this.location = `memory://${spec.name}`;
    this.#store = store;
    this.#clock = clock;
    this.#logger = logger;
    this.#caps = deadLetterCaps(spec);
    this.leases = {
      renew: async (worker, durationMs) => this.#renew(worker, durationMs),
      sweep: async (options) => this.#sweep(options),
      release: async (worker) => this.#release(worker),
      list: async () => this.#leases(),
    };
    const limits = new LimitsByLedger({
      rows: store.limits,
      now: () => clock.now(),
      step: async (work) => work(),
      endLoan: ({ loan }) => store.endLoan(loan),
      isAlive: (worker) => store.isAlive(worker),
      returned: () => undefined,
    });
    this.limits = limits;
    this.delayed = {
      unpark: async () => store.unpark(clock.now()),
      flush: async (queue) => store.unpark(Infinity, queue).moved + (await limits.flush(queue)),
    };
    this.broadcast = {
      publish: async (message, exchange, routingKey) => this.#tell(message, exchange, routingKey),
      subscribe: (exchange, pattern, signal, events) => this.#subscribe(exchange, pattern, signal, events),
      openReplies: async (exchange, routingKey) => openRepliesByFanout(this.broadcast, exchange, routingKey),
      reply: async (message, exchange, routingKey) => this.#tell(message, exchange, routingKey),
    };
    this.pauses = new MemoryPauses(this.location, store, clock);
    this.revocations = new MemoryRevocations(store, clock, revocationCaps(spec));
    this.groupEnds = { finish: async (end, { backend }) => await this.#finish(end, backend) };
    this.deadLetters = new MemoryDeadLetters(store, clock, this.#caps);
    this.search = {
      async *messages({ queues, limit }) {
        yield [...store.messages(queues)].slice(0, limit);
      },
    };
    this.dueCallbacks = {
      publish: async (due, messages, { backend, home }) => {
        const isDue = (await backend.batches?.done(due)) ?? false;
        if (isDue) for (const outgoing of messages) this.#putFollowUp(outgoing, home);
        return isDue;
      },
    };
    this.fairness = memoryFairness(store);
    this.checkpoints = new MemoryCheckpoints(store);
    this.aggregates = new MemoryAggregates(store);
    this.uniques = new MemoryUniques(this.location, store, clock);
  }

  async publish(messages: readonly Outgoing[], { signal }: PublishOptions = {}): Promise<void> {
    if (signal?.aborted) throw new PublishError(this.location, messages.map(() => "refused"), signal.reason); // prettier-ignore
    const fates = messages.map((outgoing): PublishFate => (this.#put(outgoing) ? "held" : "refused"));
    if (!fates.includes("refused")) return;
    const { exchange, routingKey } = messages[fates.indexOf("refused")] as Outgoing;
    const answer = `no queue is bound to the exchange ${JSON.stringify(exchange)} for the routing key ${JSON.stringify(routingKey)}`;
    throw new PublishError(this.location, fates, new BrokerRefusedError(this.location, answer));
  }

  /** Puts a text in a queue as it is, as a foreign producer might: for tests of what cannot be decoded. */
  inject(queue: string, raw: string | Uint8Array): void {
    this.#store.add(queue, raw, 0);
  }

  async *consume(queues: readonly string[], options: ConsumeOptions): AsyncGenerator<readonly Delivery[], void, undefined> {
    const { worker, credit, events, maxBatchBytes = MAX_BATCH_BYTES, paused, order } = options;
    const turns = order && new QueueTurns(order, queues);
    const signal = AbortSignal.any([options.signal, this.#closed.signal]);
    this.#enter(worker);
    events?.connected?.();
    using _alive = this.#repeat(() => credit.free() <= 0 && events?.alive?.());
    const open = (): readonly string[] => (paused?.isAny ? queues.filter((queue) => !paused.has(queue)) : queues);
    while (!signal.aborted) {
      try {
        await credit.whenFree(signal);
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
      if (signal.aborted) return;
      const state = this.#store.worker(worker);
      // A worker that lost its lease is lent nothing until its guard has renewed it, and so knows.
      const want = state.lost ? 0 : credit.free();
      const plan = turns?.plan(want, (queue) => !paused?.has(queue));
      const loans = want === 0 ? [] : this.#store.reserve(state, open(), want, maxBatchBytes, { fair: options.fair, plan });
      if (plan) turns?.took(plan, countByQueue(loans.map(({ entry }) => entry)));
      events?.alive?.();
      if (loans.length > 0) yield loans.map((loan) => new MemoryDelivery(loan));
      else await this.#messageFor(open(), signal, paused);
    }
  }

  #repeat(say: () => void): Disposable {
    const next = (): Timer => this.#clock.timer(ALIVE_MS, () => (say(), (timer = next())), { background: true });
    let timer = next();
    return { [Symbol.dispose]: () => timer.cancel() };
  }

  async settle(settlements: readonly Settlement[], options: SettleOptions = {}): Promise<readonly SettleAnswer[]> {
    const stored: Promise<unknown>[] = [];
    const toFront: Entry[] = []; // together, so that they keep their order
    const answers = settlements.map((settlement): SettleAnswer => {
      const { delivery, end, results, publish, parts } = settlement;
      const entry = this.#store.endLoan(delivery.loan);
      if (entry === undefined) return "lost";
      // A memory backend has stored when `store` returns its promise: nothing can come between.
      if (results !== undefined && options.backend !== undefined) stored.push(options.backend.store(results));
      if (parts !== undefined && options.backend !== undefined) {
        const registered = options.backend.groups.addParts(parts);
        stored.push(registered.then((completed) => completed.includes(true) && options.completed?.(settlement)));
      }
      for (const outgoing of publish ?? []) this.#putFollowUp(outgoing, delivery.queue);
      if (settlement.unique !== undefined) this.uniques.stepNow(settlement.unique);
      switch (end.kind) {
        case "ack":
          break;
        case "requeue":
          entry.raw = redelivered(end.message === undefined ? entry.raw : replaced(entry.raw, end.message));
          if (end.isLoss) entry.losses++;
          if (end.to === "front") toFront.push(entry);
          else this.#store.toBack(entry);
          break;
        case "putBack":
          toFront.push(entry);
          break;
        case "park":
          if (end.message !== undefined) entry.raw = replaced(entry.raw, end.message);
          this.#store.park(entry, end.dueAt);
          break;
        case "deadLetter":
          this.#store.bury(entry, end.record, this.#caps);
          break;
      }
      return "settled";
    });
    this.#store.toFront(toFront);
    await Promise.all(stored);
    return answers;
  }

  /** Whoever removes the record does all the rest. */
  async #finish({ groupId, home, results, publish, parts }: GroupEnd, backend: ResultBackend): Promise<GroupEndAnswer> {
    const [wasDue] = await backend.groups.end([groupId]);
    if (wasDue !== true) return { kind: "gone" };
    const stored = backend.store(results);
    const registered = backend.groups.addParts(parts);
    for (const outgoing of publish) this.#putFollowUp(outgoing, home);
    await stored;
    const completed = await registered;
    return { kind: "ended", completed: parts.filter((_, i) => completed[i]).map(({ groupId: id }) => id) };
  }

  async bind(queues: readonly QueueSpec[]): Promise<void> {
    for (const spec of queues) this.#store.bind(spec);
  }

  async depth(queues: readonly string[]): Promise<readonly QueueDepth[]> {
    return queues.map((queue) => this.#store.depth(queue));
  }

  async purge(queue: string): Promise<number> {
    return await purgeWithLocks(this.uniques, this.search, queue, async () => this.#store.purge(queue));
  }

  settlesWith(backend: ResultBackend): boolean {
    return backend.kind === "memory";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new BrokerRefusedError(this.location, "it was closed"));
  }

  /** What follows from a task must not get lost because a binding is gone: it goes to the queue that the task came from. */
  #putFollowUp(outgoing: Outgoing, home: string): void {
    if (this.#put(outgoing)) return;
    const { exchange, routingKey } = outgoing;
    this.#put(outgoing, [home]);
    this.#logger.warn(
      { exchange, routingKey, queue: home },
      "no queue is bound for this message: it goes to the queue of the task that it follows from",
    );
  }

  #put({ message, exchange, routingKey }: Outgoing, queues = this.#store.route(exchange, routingKey)): boolean {
    if (queues.length === 0) return false;
    const raw = encodeEnvelope(message, { exchange, routingKey }, newId());
    for (const queue of queues) this.#store.add(queue, raw, message.properties.priority);
    return true;
  }

  async #messageFor(queues: readonly string[], signal: AbortSignal, paused: PausedQueues | undefined): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        forget();
        forgetPauses?.();
        timer.cancel();
        signal.removeEventListener("abort", done);
        resolve();
      };
      const forget = this.#store.onMessage(queues, done);
      const forgetPauses = paused?.onChange(done);
      const timer = this.#clock.timer(ALIVE_MS, done, { background: true });
      signal.addEventListener("abort", done, { once: true });
      if (signal.aborted) done();
    });
  }

  /** A name is unique among live workers, so what another open broker left under it is a dead predecessor's: it is lost. */
  #enter(worker: string): void {
    const { consumer, leaseEnds } = this.#store.worker(worker);
    if (consumer !== undefined && consumer !== this) {
      this.#lose(worker, Infinity);
      this.#store.forgetWorker(worker);
      this.#store.worker(worker).leaseEnds = leaseEnds;
    }
    this.#store.worker(worker).consumer = this;
  }

  #renew(worker: string, durationMs: number): LeaseState {
    const state = this.#store.worker(worker);
    const held = !state.lost;
    state.lost = false;
    state.leaseEnds = this.#clock.monotonic() + durationMs;
    if (!held) this.#store.wakeAll();
    return { held, clockOffsetMs: 0 };
  }

  #sweep({ maxDeliveries }: SweepOptions): SweepReport {
    const report = { returned: 0, deadLettered: 0, workers: [] as string[] };
    for (const [name, state] of this.#store.workers()) {
      if (state.leaseEnds === undefined || state.leaseEnds > this.#clock.monotonic()) continue;
      state.leaseEnds = undefined;
      state.lost = true;
      const { returned, deadLettered } = this.#lose(name, maxDeliveries);
      report.returned += returned;
      report.deadLettered += deadLettered;
      report.workers.push(name);
    }
    return report;
  }

  #lose(worker: string, maxDeliveries: number): { returned: number; deadLettered: number } {
    const entries = this.#store.loseLoans(this.#store.worker(worker));
    const poison = entries.filter(({ losses }) => losses >= maxDeliveries);
    const returned = entries.filter(({ losses }) => losses < maxDeliveries);
    for (const entry of poison) {
      this.#freeLockOf(entry);
      this.#store.bury(entry, poisonRecord(entry.raw, entry.losses, worker, this.#clock.now()), this.#caps);
    }
    this.#giveBack(returned);
    return { returned: returned.length, deadLettered: poison.length };
  }

  /** Of a message that no worker ends any more. */
  #freeLockOf({ raw, queue }: Entry): void {
    const step = freeingStep(raw, queue);
    if (step !== undefined) this.uniques.stepNow(step);
  }

  #release(worker: string): number {
    const entries = this.#store.endLoans(this.#store.worker(worker));
    this.#store.forgetWorker(worker);
    this.#giveBack(entries);
    return entries.length;
  }

  #giveBack(entries: readonly Entry[]): void {
    for (const entry of entries) entry.raw = redelivered(entry.raw);
    this.#store.toFront(entries);
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

  #subscribe(exchange: string, pattern: string, until: AbortSignal, events?: SubscriptionEvents): AsyncIterable<Message> {
    const signal = AbortSignal.any([until, this.#closed.signal]);
    const inbox = new Inbox<Message>(signal);
    const subscription = { exchange, pattern, inbox };
    if (signal.aborted) return inbox;
    this.#store.subscriptions.add(subscription);
    signal.addEventListener("abort", () => this.#store.subscriptions.delete(subscription), { once: true });
    events?.subscribed?.();
    return inbox;
  }
}

class MemoryDelivery implements Delivery {
  readonly loan: LoanId;
  readonly queue: string;
  readonly losses: number;
  readonly raw: string | Uint8Array;
  #opened: OpenedDelivery | undefined;

  constructor({ id, entry }: Loan) {
    this.loan = id as LoanId; // made here and nowhere else
    this.queue = entry.queue;
    this.losses = entry.losses;
    this.raw = entry.raw;
  }

  open(): OpenedDelivery {
    return (this.#opened ??= decodeEnvelope(this.raw));
  }
}
