/**
 * What a running task knows about itself, and what it may ask for. The first parameter of `run` in `app.task({ run })`;
 * `currentTask()` gives it to code further down.
 */
import type { ResultTuple } from "../canvas/result-tuple.ts";
import type { SignatureData } from "../protocol/signature.ts";
import type { Lovage } from "./app.ts";
import type { IterateOptions, IterationSource, Steps } from "./iteration.ts";
import type { AnyResult } from "./group-result.ts";
import type { Signature } from "./signature.ts";
import type { WireInstant } from "../protocol/message.ts";
import type { Duration } from "../shared/duration.ts";
import type { Logger } from "../shared/log.ts";

/** Facts from the message and from the worker (Celery's `self.request`). */
export interface TaskRequest {
  readonly id: string;
  /** The task's name. */
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly argsrepr: string | undefined;
  readonly kwargsrepr: string | undefined;
  /** The first task of the workflow; the task's own id when it is the first. */
  readonly rootId: string;
  /** The task that sent this one. */
  readonly parentId: string | undefined;
  readonly group: string | undefined;
  readonly groupIndex: number | undefined;
  readonly correlationId: string | undefined;
  readonly replyTo: string | undefined;
  /** Attempts made before this one. */
  readonly retries: number;
  readonly eta: WireInstant | undefined;
  readonly expires: WireInstant | undefined;
  /** As the message says; undefined when it does not. */
  readonly timeLimitMs: number | undefined;
  readonly softTimeLimitMs: number | undefined;
  /** null: the message leaves it to the task. */
  readonly ignoreResult: boolean | null;
  readonly replacedTaskNesting: number;
  /** The user's headers. */
  readonly headers: Readonly<Record<string, unknown>>;
  readonly stampedHeaders: readonly string[] | undefined;
  readonly stamps: Readonly<Record<string, unknown>>;
  /** Another name for logs and monitors. */
  readonly shadow: string | undefined;
  /** Who sent it, e.g. `gen123@host`. */
  readonly origin: string | undefined;
  readonly delivery: TaskDelivery;
  /** Signatures to call on success and on failure, the rest of the chain, the chord's body: as they are on the wire. */
  readonly callbacks: readonly unknown[] | undefined;
  readonly errbacks: readonly unknown[] | undefined;
  readonly chain: readonly unknown[] | undefined;
  readonly chord: unknown;
  /** The worker's name, `celery@host`; undefined in eager mode. */
  readonly hostname: string | undefined;
  /** The process that runs it. */
  readonly workerPid: number;
  /** When this attempt started, ms since 1970. */
  readonly startedAt: number;
  /** True when it runs in the caller's own process, without a broker. */
  readonly isEager: boolean;
}

export interface TaskDelivery {
  readonly queue: string | undefined;
  readonly exchange: string;
  readonly routingKey: string;
  readonly priority: number;
  /** Not the first delivery of this message: it may have run before, in part. */
  readonly redelivered: boolean;
}

export interface TaskContext extends TaskRequest {
  /** The app under which it runs. */
  readonly app: Lovage;
  /** Aborts when the task should stop: soft time limit, revoke, shutdown. `signal.reason` says which. */
  readonly signal: AbortSignal;
  /** Every line carries the task's name and id. */
  readonly log: Logger;
  /**
   * Stores the state PROGRESS with `{ current, total, ...meta }`, so that callers can follow it. Calls faster than the
   * result backend takes them are merged: the last one wins. Without a backend it does nothing.
   */
  progress(current: number, total?: number, meta?: Readonly<Record<string, unknown>>): Promise<void>;
  /**
   * Goes through a source in steps, so that the task can be interrupted between any two (a deploy, a stop, `maxRuntime`) and
   * go on from there elsewhere, without an attempt counted: `for await (const item of ctx.iterate(source))`. Iterations
   * may follow one another or be inside one another, not run at the same time. What interrupts is an error that passes through the loop: do not catch it.
   */
  iterate<Item, Cursor>(source: IterationSource<Item, Cursor>, options?: IterateOptions): Steps<Item>;
  /** Stores any state of your own with `meta` as its result (Celery's `update_state`). Without a backend it does nothing. */
  updateState(state: string, meta?: unknown): Promise<void>;
  /**
   * Runs the task again later: throws, so that nothing after it runs.
   * @throws Retry; once no retry is left the given `error`, or else MaxRetriesExceededError.
   */
  retry(options?: RetryRequest): never;
  /**
   * Runs the task again later, with the same arguments, as if this attempt had not been: `retries` stays as it is, and no
   * limit of retries counts it. For what is not ready yet, where nothing has failed. Throws, so that nothing after it runs.
   * With `holdLimit` nothing else under this task's limits (of its key, where they have keys) starts before that either: for an
   * API that answered 429 and said when to come back.
   */
  snooze(delay: Duration, options?: SnoozeOptions): never;
  /**
   * Runs something else in this task's place: its end counts as this task's end. It has this task's id, its place in a chord,
   * its callbacks and error callbacks, and the rest of its chain follows. A group's result is the list of its members'.
   * Published in the step that ends this task. Throws, so that nothing after it runs.
   * @throws ProtocolError for a chain of nothing, or a signature that is part of a chord already
   */
  replace(signature: WholeSignature): never;
  /**
   * Adds a member to the chord that this task is a member of: its body waits for that one too. Sent at once, so a task that
   * runs again adds it again; with `lazy` it is not sent: call `delay()` of what is answered, or the chord waits until its results expire.
   * @throws CallError when the task is no member of a chord
   */
  addToChord(signature: WholeSignature, options: { readonly lazy: true }): Promise<Signature>;
  addToChord(signature: WholeSignature, options?: { readonly lazy?: boolean }): Promise<AnyResult>;
  /** Ends the task without storing a result. */
  ignore(): never;
  /** Tasks that this one has sent, as they are recorded in its result. */
  readonly children: readonly ResultTuple[];
  /** Gives the message back to its queue (`requeue`), or puts it with the dead letters. Late acks only. */
  reject(reason?: unknown, options?: { readonly requeue?: boolean }): never;
}

export interface SnoozeOptions {
  /** Holds back the limits of the task (`limit`, `queueLimits`) for as long. Default false. */
  readonly holdLimit?: boolean;
}

/** A signature that has all its arguments. */
export type WholeSignature = SignatureData | { readonly accepts: (input: []) => void; toJSON(): SignatureData };

/** Options of `ctx.retry()`, with Celery's names and units. */
export interface RetryRequest {
  /** Why; stored with the RETRY state and thrown when no retry is left. */
  readonly error?: unknown;
  /** Delay before the next attempt. Default: the task's `retry` policy, else `defaultRetryDelay` (180 s). */
  readonly countdown?: Duration;
  /** A time instead of a delay. */
  readonly eta?: Date;
  /** Overrides the task's limit for this call; null retries for ever. */
  readonly maxRetries?: number | null;
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly queue?: string;
  readonly exchange?: string;
  readonly routingKey?: string;
  readonly priority?: number;
  readonly timeLimit?: Duration;
  readonly softTimeLimit?: Duration;
  readonly expires?: Duration | Date | null;
  readonly headers?: Readonly<Record<string, unknown>>;
}
