/**
 * Hands messages to the broker: all that are added in one turn of the event loop go in one publish.
 *
 * A batch is open (taking messages) -> under way (up to four at a time; later messages gather in the next one
 * meanwhile) -> finished. It is finished within `publishTimeout` of its first message, whatever the broker does: one
 * timer, armed for the batch that is due first, sees to that. With `publishBuffer` it may stay longer: buffered, as long as there
 * is room, until `publishBufferTimeout`. Its calls stay pending all the while: what is not held is never reported as sent. Nothing runs and nothing keeps the process alive while no batch exists.
 */
import { BrokerOutOfMemoryError, BrokerRefusedError, BrokerUnavailableError, PublishError } from "../brokers/errors.ts";
import type { Broker, Outgoing, PublishFate } from "../brokers/broker.ts";
import { sleep, type Clock, type Random, type Timer } from "../shared/clock.ts";
import { LovageError } from "../shared/errors.ts";
import { publishUnique } from "./unique-publish.ts";
import { AppClosedError, ConfigurationError, PublishFailedError, PublishTimeoutError, type SentCall } from "./errors.ts";
import type { DeclaredQueue } from "./queues.ts";
import type { ResolvedPublishRetryPolicy } from "./setting-values.ts";

/** Scripts and transactions stay small; more messages make more batches. */
const MAX_MESSAGES = 1000;
/** With nothing under way, so many need not wait for the turn's end: broker and producer would wait for each other. */
const ENOUGH = 64;
const MAX_BYTES = 4 * 1024 * 1024;
const MAX_UNDER_WAY = 4;

export interface ProducerDeps {
  readonly appName: string;
  broker(): Promise<Broker>;
  /** Where the broker is, for errors. */
  location(): string;
  readonly clock: Clock;
  readonly random: Random;
  readonly publishTimeoutMs: number;
  /** null: one try. */
  readonly retry: ResolvedPublishRetryPolicy | null;
  /** How many messages may wait for the broker longer than that, and how long in all. */
  readonly buffer: { readonly max: number; readonly timeoutMs: number };
  /** Queues whose bindings must be known before the first publish. */
  readonly declared: readonly DeclaredQueue[];
}

/** One message to be sent, with what an error about it will say. */
export interface Sending {
  readonly outgoing: Outgoing;
  readonly taskId: string;
  readonly task: string;
  readonly queue: DeclaredQueue | undefined;
  /** Of this call; null: one try, undefined: as all. */
  retry?: ResolvedPublishRetryPolicy | null;
  /** Once it is published: the task that stands for it, a duplicate. */
  heldBy?: string;
}

/** Why a batch failed, message by message. */
export interface BatchFailure {
  readonly sendings: readonly Sending[];
  readonly cause: unknown;
  readonly timedOut: boolean;
  /** The time that it had. */
  readonly withinMs: number;
  readonly fates: readonly PublishFate[];
}

class Batch {
  readonly sendings: Sending[] = [];
  deadlineAt: number;
  /** Its `publishTimeout` has passed, and it goes on waiting. */
  isBuffered = false;
  readonly retry: ResolvedPublishRetryPolicy | null;
  /** Resolves, never rejects: with undefined when the broker holds everything. */
  readonly done: Promise<BatchFailure | undefined>;
  readonly abort: AbortController;
  bytes = 0;
  hasUnique = false;
  isUnderWay = false;
  isFinished = false;
  /** What became of each message in the publishes that have ended; undefined before the first one failed. */
  fates: PublishFate[] | undefined;
  isSending = false;
  /** Why the last try failed: what its caller wants to know when time is up. */
  lastError: unknown;
  finish!: (failure: BatchFailure | undefined) => void;

  constructor(deadlineAt: number, retry: ResolvedPublishRetryPolicy | null, abort: AbortController) {
    this.deadlineAt = deadlineAt;
    this.retry = retry;
    this.abort = abort;
    this.done = new Promise((resolve) => {
      this.finish = resolve;
    });
  }
}

export class Producer {
  readonly #deps: ProducerDeps;
  /** Oldest first; all have the same timeout, so their deadlines come in this order. */
  readonly #batches: Batch[] = [];
  readonly #waiting: Batch[] = [];
  readonly #bound = new Set<string>();
  #boundTo: Broker | undefined;
  /** Of batches that are finished. Making one costs more than encoding a message, and most never fire. */
  readonly #spare: AbortController[] = [];
  #open: Batch | undefined;
  #closing = false;
  #isFlushDue = false;
  #underWay = 0;
  /** Messages in batches that are buffered. */
  #buffered = 0;
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  constructor(deps: ProducerDeps) {
    this.#deps = deps;
  }

  /**
   * Resolves when the broker holds the message, or when its batch has failed: `failureOf` tells what that means for this one. One
   * promise for a batch, because a promise for each message is a tenth of what sending it costs.
   * @throws AppClosedError
   */
  hand(sending: Sending): Promise<BatchFailure | undefined> {
    const batch = this.#add(sending);
    if (batch.sendings.length === ENOUGH && this.#underWay === 0) this.#flush();
    return batch.done;
  }

  /** undefined when the broker holds it all the same. */
  failureOf(sending: Sending, failure: BatchFailure): Error | undefined {
    const fate = failure.fates[failure.sendings.indexOf(sending)];
    return fate === "held" ? undefined : this.#error([sentCall(sending, fate)], failure);
  }

  /** Resolves when the broker holds every message; the error tells what became of each. */
  async sendMany(sendings: readonly Sending[]): Promise<void> {
    const batches: Batch[] = [];
    for (const sending of sendings) {
      const batch = this.#add(sending);
      if (batches.at(-1) !== batch) batches.push(batch);
    }
    const failures: BatchFailure[] = [];
    for (const { done } of batches) {
      const failure = await done;
      if (failure) failures.push(failure);
    }
    const [first] = failures;
    if (first === undefined) return;
    const fates = new Map<Sending, PublishFate | undefined>();
    for (const { sendings: failed, fates: told } of failures)
      for (const [i, sending] of failed.entries()) fates.set(sending, told[i] ?? "unknown");
    const calls = sendings.map((sending) => sentCall(sending, fates.get(sending) ?? "held"));
    if (calls.some(({ fate }) => fate !== "held")) throw this.#error(calls, first);
  }

  /** Waits for what is under way, refuses what comes after. Takes at most `publishTimeout`. */
  async close(): Promise<void> {
    this.#closing = true;
    const latest = this.#deps.clock.monotonic() + this.#deps.publishTimeoutMs;
    for (const batch of this.#batches) batch.deadlineAt = Math.min(batch.deadlineAt, latest);
    this.#armTimer();
    await Promise.all(this.#batches.map((batch) => batch.done));
  }

  #add(sending: Sending): Batch {
    if (this.#closing) throw new AppClosedError(this.#deps.appName);
    const retry = sending.retry === undefined ? this.#deps.retry : sending.retry;
    let batch = this.#open;
    const size = sending.outgoing.message.body.byteLength;
    const fits = batch && isSamePolicy(batch.retry, retry) && batch.sendings.length < MAX_MESSAGES && batch.bytes + size <= MAX_BYTES;
    if (!batch || !fits) batch = this.#openBatch(retry);
    batch.sendings.push(sending);
    if (sending.outgoing.unique !== undefined) batch.hasUnique = true;
    batch.bytes += size;
    return batch;
  }

  #openBatch(retry: ResolvedPublishRetryPolicy | null): Batch {
    const batch = new Batch(this.#deps.clock.monotonic() + this.#deps.publishTimeoutMs, retry, this.#spare.pop() ?? new AbortController());
    this.#open = batch;
    this.#batches.push(batch);
    this.#waiting.push(batch);
    if (batch.deadlineAt < this.#timerAt) this.#armTimer();
    this.#flushSoon();
    return batch;
  }

  #flushSoon(): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    setImmediate(() => {
      this.#isFlushDue = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (this.#underWay < MAX_UNDER_WAY) {
      const batch = this.#waiting.shift();
      if (!batch) return;
      if (batch === this.#open) this.#open = undefined;
      if (batch.isFinished) continue;
      this.#underWay++;
      batch.isUnderWay = true;
      void this.#publish(batch).then((failure) => this.#end(batch, failure));
    }
  }

  /** Never rejects. */
  async #publish(batch: Batch): Promise<BatchFailure | undefined> {
    const { signal } = batch.abort;
    for (let attempt = 0; ; attempt++) {
      try {
        const broker = await this.#deps.broker();
        if (signal.aborted) throw signal.reason;
        await this.#bind(broker, batch);
        if (signal.aborted) throw signal.reason;
        await this.#publishOnce(broker, batch);
        return undefined;
      } catch (thrown) {
        const error = thrown === signal.reason ? (batch.lastError ?? thrown) : thrown;
        batch.lastError = error;
        const fates = fatesNow(batch);
        const canRetry = !signal.aborted && fates.includes("refused") && isTransient(error) && this.#hasRetryLeft(batch, attempt);
        if (!canRetry || !(await this.#pause(batch, attempt)))
          return { sendings: batch.sendings, cause: error, timedOut: signal.aborted, withinMs: this.#patience(batch), fates };
      }
    }
  }

  /** Sends what the broker does not hold yet. Throws when it still does not hold everything; then `batch.fates` says what it holds. */
  async #publishOnce(broker: Broker, batch: Batch): Promise<void> {
    const { fates } = batch;
    const sendings = fates ? batch.sendings.filter((_, index) => fates[index] === "refused") : batch.sendings;
    batch.isSending = true;
    try {
      const outgoings = sendings.map((sending) => sending.outgoing);
      const options = { signal: batch.abort.signal };
      if (!batch.hasUnique) await broker.publish(outgoings, options);
      else await publishUnique(broker, outgoings, options, (index, taskId) => ((sendings[index] as Sending).heldBy = taskId));
      batch.fates = fates?.map((fate) => (fate === "refused" ? "held" : fate));
    } catch (error) {
      const answered = error instanceof PublishError && error.fates.length === sendings.length ? error.fates : undefined;
      let next = 0;
      batch.fates = batch.sendings.map((_, index) => {
        const earlier = fates?.[index] ?? "refused";
        return earlier === "refused" ? (answered?.[next++] ?? (wasRefused(error) ? "refused" : "unknown")) : earlier;
      });
      throw error;
    } finally {
      batch.isSending = false;
    }
    if (batch.fates?.includes("unknown")) throw new Error("whether the broker holds every message is unknown");
  }

  /** Once per broker for what is declared, once per queue for what comes into use later. */
  async #bind(broker: Broker, batch: Batch): Promise<void> {
    const queues: DeclaredQueue[] = [];
    if (this.#boundTo !== broker) {
      this.#boundTo = broker;
      this.#bound.clear();
      queues.push(...this.#deps.declared);
    }
    for (const { queue } of batch.sendings) if (queue && !this.#bound.has(queue.name)) queues.push(queue);
    if (queues.length === 0) return;
    const fresh = [...new Map(queues.map((queue) => [queue.name, queue])).values()];
    await broker.bind(fresh.flatMap((queue) => queue.bindings));
    for (const queue of fresh) this.#bound.add(queue.name);
  }

  #hasRetryLeft(batch: Batch, attempt: number): boolean {
    if (batch.retry === null) return false;
    return this.#deps.buffer.max > 0 || batch.retry.maxRetries === null || attempt < batch.retry.maxRetries;
  }

  /** False when the deadline came first. */
  async #pause(batch: Batch, attempt: number): Promise<boolean> {
    const { intervalStartMs, intervalStepMs, intervalMaxMs } = batch.retry as ResolvedPublishRetryPolicy;
    const plannedMs = Math.min(intervalStartMs + attempt * intervalStepMs, intervalMaxMs);
    const delayMs = plannedMs * (1 + 0.5 * this.#deps.random()); // later, never earlier: producers that failed together do not come back together
    try {
      if (delayMs > 0) await sleep(this.#deps.clock, delayMs, batch.abort.signal);
      return true;
    } catch {
      return false;
    }
  }

  #end(batch: Batch, failure: BatchFailure | undefined): void {
    if (batch.isFinished) return;
    batch.isFinished = true;
    this.#batches.splice(this.#batches.indexOf(batch), 1);
    if (batch.isBuffered) this.#buffered -= batch.sendings.length;
    if (this.#batches.length === 0) this.#armTimer();
    batch.finish(failure);
    if (!batch.abort.signal.aborted && this.#spare.length < MAX_UNDER_WAY) this.#spare.push(batch.abort);
    if (!batch.isUnderWay) return;
    this.#underWay--;
    if (this.#waiting.length > 0) this.#flush();
  }

  /** For the batch that is due first. Buffered ones are due later than those that came after them. */
  #armTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    for (const { deadlineAt } of this.#batches) this.#timerAt = Math.min(this.#timerAt, deadlineAt);
    if (this.#timerAt === Number.POSITIVE_INFINITY) return;
    this.#timer = this.#deps.clock.timer(this.#timerAt - this.#deps.clock.monotonic(), () => this.#expire());
  }

  /** Ends what is overdue, or lets it wait on, and arms the timer for the next. */
  #expire(): void {
    const now = this.#deps.clock.monotonic();
    for (const batch of this.#batches) {
      if (batch.deadlineAt > now || batch.abort.signal.aborted) continue;
      if (batch === this.#open) this.#open = undefined;
      if (this.#mayWaitOn(batch)) continue;
      batch.deadlineAt = Number.POSITIVE_INFINITY;
      batch.abort.abort(new DOMException("publishTimeout has passed", "TimeoutError"));
      // The broker, told by the signal, may still say exactly what became of each message; it has this turn to do so.
      setImmediate(() => {
        this.#end(batch, {
          sendings: batch.sendings,
          cause: batch.lastError ?? batch.abort.signal.reason,
          timedOut: true,
          withinMs: this.#patience(batch),
          fates: fatesNow(batch),
        });
      });
    }
    this.#armTimer();
  }

  #patience({ isBuffered }: Batch): number {
    return isBuffered ? this.#deps.buffer.timeoutMs : this.#deps.publishTimeoutMs;
  }

  #mayWaitOn(batch: Batch): boolean {
    const { buffer, publishTimeoutMs } = this.#deps;
    const longerMs = buffer.timeoutMs - publishTimeoutMs;
    if (batch.isBuffered || this.#closing || longerMs <= 0 || this.#buffered + batch.sendings.length > buffer.max) return false;
    batch.isBuffered = true;
    batch.deadlineAt += longerMs;
    this.#buffered += batch.sendings.length;
    return true;
  }

  #error(calls: readonly SentCall[], failure: BatchFailure): Error {
    if (failure.cause instanceof ConfigurationError) return failure.cause; // nothing was tried, and no broker is to blame
    const missing = calls.filter((call) => call.fate !== "held");
    const unknown = missing.filter((call) => call.fate === "unknown").length;
    const certainly = unknown === 0 ? "" : " for certain";
    const what =
      calls.length === 1
        ? `task ${calls[0]?.task}[${calls[0]?.taskId}] was not sent${certainly}`
        : `${missing.length} of ${calls.length} tasks were not sent${certainly}`;
    const fate =
      unknown === 0
        ? `the broker does not hold ${calls.length === 1 ? "it" : "them"}`
        : unknown === missing.length
          ? "whether the broker holds it is unknown"
          : `of ${unknown} it is unknown whether the broker holds them`;
    const transient = isTransient(failure.cause) || failure.timedOut;
    const cause = failure.cause instanceof PublishError ? failure.cause.cause : failure.cause; // what became of each message stands in `calls`
    const options = { cause, transient };
    if (failure.timedOut)
      return new PublishTimeoutError(`${what} to ${this.#deps.location()} within ${failure.withinMs} ms (${fate})`, calls, options);
    return new PublishFailedError(
      `${what} (${fate}): ${failure.cause instanceof Error ? failure.cause.message : String(failure.cause)}`,
      calls,
      options,
    );
  }
}

function isSamePolicy(one: ResolvedPublishRetryPolicy | null, other: ResolvedPublishRetryPolicy | null): boolean {
  if (one === other) return true;
  if (one === null || other === null) return false;
  return (Object.keys(one) as (keyof ResolvedPublishRetryPolicy)[]).every((key) => one[key] === other[key]);
}

/** What is known of each message now: what is being sent may or may not have arrived. */
function fatesNow(batch: Batch): PublishFate[] {
  return batch.sendings.map((_, index) => {
    const fate = batch.fates?.[index] ?? "refused";
    return fate === "refused" && batch.isSending ? "unknown" : fate;
  });
}

function sentCall(sending: Sending, fate: PublishFate | undefined): SentCall {
  return { taskId: sending.taskId, task: sending.task, fate: fate ?? "unknown" };
}

/** The broker was never reached, or answered with a refusal: nothing was taken. */
function wasRefused(error: unknown): boolean {
  return error instanceof BrokerUnavailableError || error instanceof BrokerRefusedError || error instanceof BrokerOutOfMemoryError;
}

function isTransient(error: unknown): boolean {
  return error instanceof LovageError && error.transient;
}
