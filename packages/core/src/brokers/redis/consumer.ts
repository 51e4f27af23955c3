/**
 * Takes messages for one worker: several reserves under way while there is something to take, and blocking reads while
 * there is not.
 *
 * States: draining (reserves under way, as long as they come back full) -> waiting (blocking reads) -> draining.
 * A heartbeat reserves every few seconds even so: it proves that the connection lives, and finds what a broken read left behind.
 */
import { sleep, type Timer } from "../../shared/clock.ts";
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { RedisAnswerError, RedisGaveUpError, RedisGoneError } from "../../stores/redis/errors.ts";
import type { ConsumeOptions, Delivery } from "../broker.ts";
import { abortable } from "../../stores/redis/link.ts";
import { type RedisContext, turn } from "./context.ts";
import type { Claim } from "./claims.ts";
import type { QueueList, RedisDelivery } from "./delivery.ts";
import { brokerError } from "./failures.ts";
import { FairTaker, type Taker } from "./fair-taker.ts";
import { ListWatch } from "./list-watch.ts";
import type { ListOrder, QueueLists } from "./lists.ts";
import type { WorkerSession } from "./session.ts";
import { type Arrival, type InboxOf, Waiter, WAITING_LISTS_MAX } from "./waiter.ts";

/** Reserves under way at once; one alone leaves client and server waiting for each other (40 % of the rate). */
const RESERVES_UNDER_WAY = 4;
/** Smaller batches cost Redis more for each message than they gain in overlap. */
const SMALL_BATCH = 16;
const LARGE_BATCH = 512;
const HEARTBEAT_MS = 3000;
/** A link that died without a word is found out so long after a heartbeat. */
const HEARTBEAT_ANSWER_MS = 1500;
const MAX_BATCH_BYTES = 16 * 1024 * 1024;
/** Broadcast messages that wait for a free slot. */
const HEARD_MAX = 10_000;
const ERROR_PAUSE_MS = 1000;
const NO_INBOXES: readonly InboxOf[] = [];
/** How long the end of `consume` waits for Redis to take back what was not yielded; the lease's end does it otherwise. */
const GIVE_BACK_MS = 3000;

export class Consumer {
  readonly #context: RedisContext;
  readonly #session: WorkerSession;
  readonly #lists: QueueLists;
  readonly #ownLists: ReadonlySet<string>;
  readonly #options: ConsumeOptions;
  readonly #giveBack: (deliveries: readonly RedisDelivery[], signal: AbortSignal) => Promise<unknown>;
  readonly #taker: Taker;
  readonly #waiter: Waiter;
  /** For what there are too many lists for. */
  readonly #watch: ListWatch | undefined;
  readonly #ready: RedisDelivery[] = [];
  #requested = 0;
  /** Reserves under way that look into inboxes. */
  #inboxReserves = 0;
  readonly #reserves = new Set<Promise<void>>();
  #mostFree = 1;
  #isWaiting = false;
  #connection: RedisConnection | undefined;
  #lastReserveAt = 0;
  #reservedSinceReconcile = false;
  #heartbeat: Timer | undefined;
  #failure: unknown;
  /** It has ended, and could not give back what it had; an answer that is still on its way may bring more. */
  #isOver = false;
  #freeWait: Promise<void> | undefined;
  #ring: () => void = () => undefined;
  #bell = new Promise<void>((resolve) => (this.#ring = resolve));

  constructor(
    context: RedisContext,
    session: WorkerSession,
    lists: QueueLists,
    options: ConsumeOptions,
    giveBack: (deliveries: readonly RedisDelivery[], signal: AbortSignal) => Promise<unknown>,
    hearFanout: (hear: (source: QueueList, raw: Buffer) => void) => void,
  ) {
    this.#context = context;
    this.#session = session;
    this.#lists = lists;
    this.#ownLists = new Set(lists.all.map(({ list }) => list));
    this.#options = options;
    this.#giveBack = giveBack;
    hearFanout((source, raw) => this.#hear(source, raw));
    this.#taker = lists.fair.length === 0 ? session : new FairTaker(context, session, lists, options.paused);
    this.#waiter = new Waiter(context, session.worker, lists.all, options.paused, (arrival) =>
      this.#wake(arrival?.from.source.fair === undefined ? arrival : undefined),
    );
    const others = lists.all.slice(WAITING_LISTS_MAX);
    this.#watch = others.length === 0 ? undefined : new ListWatch(context, session.worker, others, options.paused, () => this.#wake());
  }

  async *run(): AsyncGenerator<readonly Delivery[], void, undefined> {
    const { credit, signal } = this.#options;
    const onAbort = (): void => this.#ring();
    signal.addEventListener("abort", onAbort, { once: true });
    const forgetPauses = this.#options.paused?.onChange(() => this.#onPausesChanged());
    this.#session.know(this.#lists.all);
    const withdraw = this.#session.offerHand({
      lists: this.#ownLists,
      room: () => credit.free() - this.#ready.length,
      take: (deliveries) => this.#receive(deliveries),
    });
    this.#beat();
    try {
      while (!signal.aborted) {
        if (this.#failure !== undefined) throw this.#failure;
        this.#ready.push(...(this.#session.takeAdopted(this.#ownLists) as RedisDelivery[]));
        const free = credit.free();
        this.#mostFree = Math.max(this.#mostFree, free);
        if (this.#ready.length > 0 && free > 0) {
          yield this.#ready.splice(0, free);
          continue;
        }
        this.#take(free - this.#ready.length - this.#requested);
        if (free <= 0) this.#awaitCredit();
        await this.#bell;
        this.#bell = new Promise<void>((resolve) => (this.#ring = resolve));
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      forgetPauses?.();
      withdraw();
      await this.#stop();
    }
  }

  /** Slots that nobody has asked for. */
  get #open(): number {
    return Math.max(0, this.#options.credit.free() - this.#ready.length - this.#requested);
  }

  /** Of a reserve, when there is enough to do. */
  get #usual(): number {
    return Math.min(LARGE_BATCH, Math.max(SMALL_BATCH, Math.ceil(this.#mostFree / RESERVES_UNDER_WAY)));
  }

  /** Starts what should be under way when so many slots are open that nobody has asked for. */
  #take(open: number): void {
    if (open <= 0) {
      if (this.#reserves.size > 0) return;
      this.#waiter.pause(this.#connection);
      this.#watch?.pause(this.#connection);
      return;
    }
    if (this.#lists.all.length === 0) return;
    if (this.#isWaiting) {
      this.#waiter.wait();
      this.#watch?.wait();
      return;
    }
    const usual = this.#usual;
    let left = open;
    while (left > 0 && this.#reserves.size < RESERVES_UNDER_WAY && (this.#reserves.size === 0 || left >= usual / 2)) {
      const want = Math.min(left, usual);
      left -= want;
      void this.#start(want, NO_INBOXES);
    }
  }

  /** Never rejects: what goes wrong is waited out, or ends `run`. */
  #start(want: number, inboxes: readonly InboxOf[], claim?: Claim): Promise<void> {
    const requested = claim ? want - 1 : want;
    this.#requested += requested;
    const reserve = this.#reserve(want, inboxes, claim).finally(() => {
      this.#requested -= requested;
      this.#reserves.delete(reserve);
      this.#ring();
    });
    this.#reserves.add(reserve);
    return reserve;
  }

  async #reserve(want: number, asked: readonly InboxOf[], claim: Claim | undefined): Promise<void> {
    const { events } = this.#options;
    const isOfInboxes = asked.length > 0;
    if (isOfInboxes) this.#inboxReserves += 1;
    let order: ListOrder | undefined;
    try {
      const connection = this.#session.current ?? (await this.#session.connection(this.#options.signal));
      const isNew = connection !== this.#connection;
      if (isNew) {
        this.#connection = connection;
        events?.connected?.();
        connection.closed.addEventListener("abort", () => this.#onBroken(connection), { once: true });
      }
      const maxBytes = this.#options.maxBatchBytes ?? MAX_BATCH_BYTES;
      const inboxes = isNew && !claim ? this.#waiter.inboxes : asked;
      const begin = (): void => {
        if (claim) this.#ready.push(claim.delivery);
        this.#ring();
      };
      order = this.#lists.next(want, this.#options.paused);
      const request = { want, order, inboxes, maxBytes, claim, begin };
      const { deliveries, count, emptied, full } = await this.#taker.reserve(request, this.#options.signal);
      this.#lists.came(order, claim ? [claim.delivery, ...deliveries] : deliveries);
      this.#ready.push(...deliveries);
      if (this.#isOver) this.#abandonReady();
      if (inboxes.length > 0) this.#waiter.taken(count < want ? emptied : new Set(inboxes.map(({ source }) => source.list)));
      this.#reservedSinceReconcile ||= count > 0;
      this.#isWaiting = count < want && !full;
      this.#lastReserveAt = this.#context.clock.monotonic();
      events?.alive?.();
    } catch (error) {
      if (order) this.#lists.failed(order);
      await this.#waitOut(error);
    } finally {
      if (isOfInboxes) this.#inboxReserves -= 1;
    }
  }

  /** At once, also while nothing is under way: the next reserve waits for the next connection. */
  #onBroken(connection: RedisConnection): void {
    if (this.#connection !== connection || this.#options.signal.aborted) return;
    this.#connection = undefined;
    this.#isWaiting = false;
    this.#waiter.reset();
    this.#watch?.reset();
    this.#options.events?.disconnected?.(brokerError(this.#context.location, connection.closed.reason));
    this.#ring();
  }

  /** Looks anew, so that what waits in a queue that goes on is found. */
  #onPausesChanged(): void {
    this.#waiter.leavePaused(this.#connection);
    this.#watch?.pausesChanged();
    this.#isWaiting = false;
    this.#ring();
  }

  async #waitOut(error: unknown): Promise<void> {
    const { signal } = this.#options;
    if (signal.aborted) return;
    this.#isWaiting = false;
    if (error instanceof RedisGoneError && !(error instanceof RedisGaveUpError)) return; // told by the connection itself
    if (!(error instanceof RedisAnswerError)) {
      this.#failure ??= brokerError(this.#context.location, error);
      return;
    }
    this.#context.logger.error({ err: error, queues: this.#lists.queues }, "Redis refuses to lend messages, trying again");
    await sleep(this.#context.clock, ERROR_PAUSE_MS * (0.5 + this.#context.random() / 2), signal).catch(() => undefined);
  }

  /** Their time has come: before what was taken in the queue's order. */
  #receive(deliveries: readonly RedisDelivery[]): void {
    this.#ready.unshift(...deliveries);
    this.#ring();
  }

  /** Nobody stores what comes through a channel: a worker that cannot keep up loses the oldest, as kombu's does. */
  #hear(source: QueueList, raw: Buffer): void {
    if (this.#options.signal.aborted) return;
    if (this.#ready.length >= HEARD_MAX) {
      const oldest = this.#ready.findIndex(({ isFanout }) => isFanout);
      if (oldest === -1) return;
      this.#session.forget(this.#ready[oldest] as RedisDelivery);
      this.#ready.splice(oldest, 1);
    }
    this.#ready.push(this.#session.receive(source, raw));
    this.#ring();
  }

  /**
   * A blocking read brought something: take it from the inbox, and what else there is. An idle worker begins with it at once, unless
   * a reserve that is under way may have found it there before.
   */
  #wake(arrival?: Arrival): void {
    const { signal, paused } = this.#options;
    if (signal.aborted) return;
    if (arrival !== undefined && paused?.isAny && paused.has(arrival.from.source.queue)) return void this.#start(0, [arrival.from]);
    const want = Math.min(this.#open, LARGE_BATCH);
    const isSure = arrival !== undefined && want > 0 && this.#inboxReserves === 0 && this.#isFresh();
    const claim = isSure ? this.#session.claim(arrival, want) : undefined;
    void this.#start(want, claim ? [claim.from] : this.#waiter.inboxes, claim);
  }

  /** The lease was ours not long ago, so that nobody can have taken the inbox away since: a process may have slept for minutes. */
  #isFresh(): boolean {
    return this.#context.clock.monotonic() - this.#lastReserveAt < this.#context.leaseMs / 2;
  }

  #beat(): void {
    this.#heartbeat = this.#context.clock.timer(HEARTBEAT_MS, () => void this.#onBeat(), { background: true });
  }

  async #onBeat(): Promise<void> {
    const { signal } = this.#options;
    if (signal.aborted) return;
    try {
      if (this.#reservedSinceReconcile && this.#connection) {
        this.#reservedSinceReconcile = false;
        await this.#session.reconcile(signal);
        this.#options.events?.alive?.();
        this.#ring();
      }
      if (this.#context.clock.monotonic() - this.#lastReserveAt >= HEARTBEAT_MS / 2 && this.#reserves.size === 0) {
        const before = this.#ready.length;
        this.#connection?.mustAnswerWithin(HEARTBEAT_ANSWER_MS);
        await this.#start(Math.min(this.#open, LARGE_BATCH), this.#waiter.inboxes);
        await turn();
        this.#waiter.suspect(new Set(this.#ready.slice(before).flatMap(({ list, fair }) => (fair === undefined ? [list] : []))));
      }
    } catch (error) {
      await this.#waitOut(error);
      this.#ring();
    }
    if (!signal.aborted) this.#beat();
  }

  #awaitCredit(): void {
    const { credit, signal } = this.#options;
    if (this.#freeWait) return;
    this.#freeWait = credit
      .whenFree(signal)
      .then(async () => (this.#open >= this.#usual ? undefined : await turn())) // slots that become free in the same turn are asked for together
      .catch(() => undefined) // the signal aborted, which rings by itself
      .finally(() => {
        this.#freeWait = undefined;
        this.#ring();
      });
  }

  /** Gives back what was lent and not yielded. */
  async #stop(): Promise<void> {
    this.#heartbeat?.cancel();
    const { clock, commands, logger } = this.#context;
    const tooLong = new AbortController();
    const timer = clock.timer(GIVE_BACK_MS, () => tooLong.abort(new Error("Redis did not take it back in time")));
    let left: RedisDelivery[] = [];
    try {
      await Promise.all([this.#waiter.close(commands.current), this.#watch?.close(commands.current)]);
      await abortable(Promise.all(this.#reserves), tooLong.signal);
      await this.#session.reserve(
        { want: 0, order: { lists: [], groups: [] }, inboxes: this.#waiter.inboxes, maxBytes: MAX_BATCH_BYTES },
        tooLong.signal,
      );
      await this.#session.reconcile(tooLong.signal); // also what an earlier consumer could not give back
      this.#ready.push(...(this.#session.takeAdopted(this.#ownLists) as RedisDelivery[]));
      left = this.#ready.splice(0);
      if (left.length > 0) await this.#giveBack(left, tooLong.signal);
    } catch (error) {
      this.#ready.push(...left);
      logger.warn(
        { err: error, worker: this.#session.worker, loans: this.#ready.length },
        "could not give back what was not started: it returns when this worker consumes again, or when its lease ends",
      );
      this.#isOver = true;
      this.#abandonReady();
    } finally {
      timer.cancel();
    }
  }

  /** A later consumer of this worker finds them as loans that nobody knows. */
  #abandonReady(): void {
    for (const delivery of this.#ready.splice(0)) this.#session.forget(delivery);
  }
}
