/** What can be said about a task where it is defined: Celery's task attributes in camelCase, in Celery's units, and a few of ours. */
import type { Duration } from "../shared/duration.ts";
import type { ResolvedAggregate } from "./aggregate-task.ts";
import type { ResolvedBatch } from "./batch-task.ts";
import type { DeadLetterInput, DeadLetterPolicy } from "./dead-letter-policy.ts";
import type { EncryptedPath, EncryptInput } from "./encrypted-arguments.ts";
import type { FairKeyOption } from "./fair-key.ts";
import type { LimitInput, TaskLimit } from "./limit-options.ts";
import type { ResolvedUnique, UniqueInput } from "./unique-options.ts";
import type { RoutingOptions } from "./routing.ts";
import type { TaskContext } from "./task-context.ts";

/** `Args`: what `fairKey` and the keys of `limit` and `unique` are given, a call's arguments by position; any where it is left out. */
export interface TaskOptions<Args extends readonly unknown[] = never[]> {
  // Where it goes.
  readonly queue?: string;
  readonly exchange?: string;
  readonly exchangeType?: ExchangeType;
  readonly routingKey?: string;
  /** From 0, which is served first, to 9. */
  readonly priority?: number;
  readonly deliveryMode?: DeliveryMode;
  /** Under which its calls share their queue with others, where the queue is `fair`: a key, or a function of the call's arguments. */
  readonly fairKey?: FairKeyOption<Args>;
  readonly serializer?: string;
  readonly compression?: string | null;
  /** Not run when it has not started by then. */
  readonly expires?: Duration;

  /**
   * Arguments that travel encrypted, with the keys of the setting `encryptionKeys`: paths such as `args[0].card`,
   * `args[1].lines[*].iban` and `kwargs.email`, or true for every argument. The task receives them decrypted.
   */
  readonly encrypt?: EncryptInput;

  // How it runs.
  /** Which of the worker's pools runs it. Default: the worker's own. */
  readonly pool?: PoolName;
  readonly timeLimit?: Duration;
  readonly softTimeLimit?: Duration;
  /** At most this many starts per worker: `"100/m"`, `"10/s"`, `"1/h"`, or a number per second. */
  readonly rateLimit?: string | number;
  /** For all workers together: so many starts per time, or at once, perhaps for each key. What must wait holds no slot. */
  readonly limit?: LimitInput<Args> | readonly LimitInput<Args>[];
  /** Calls that are the same run once: the task of the first stands for them all. Default false. */
  readonly unique?: UniqueInput<Args>;

  // When its message is acknowledged.
  /** Acknowledge after the run, so that a crash runs it again. Default true. */
  readonly acksLate?: boolean;
  /** Acknowledge also after a failure. Default true. */
  readonly acksOnFailure?: boolean;
  readonly acksOnTimeout?: boolean;
  /** Celery's older name for both of the above. */
  readonly acksOnFailureOrTimeout?: boolean;
  /** Put the message back when the process that ran it died. Default true. */
  readonly rejectOnWorkerLost?: boolean;
  /** Says that running twice does no harm. Only documents it: checks do not warn about late acks then. */
  readonly idempotent?: boolean;

  // What is kept of it.
  readonly ignoreResult?: boolean;
  readonly storeErrorsEvenIfIgnored?: boolean;
  readonly trackStarted?: boolean;
  readonly storeEagerResult?: boolean;
  /** Result of this task kept this long. Default: the setting `resultExpires`. */
  readonly resultExpires?: Duration | null;
  /** Record the tasks that it sends as its children. Default true. */
  readonly trail?: boolean;
  readonly sendEvents?: boolean;
  readonly resultreprMaxsize?: number;

  // What happens when it fails.
  /** null retries for ever. Default 3. */
  readonly maxRetries?: number | null;
  /** Default 180 s, as in Celery. */
  readonly defaultRetryDelay?: Duration;
  /** Errors that are retried by themselves: classes, or names as they stand in results. */
  readonly autoretryFor?: readonly ErrorMatcher[];
  readonly dontAutoretryFor?: readonly ErrorMatcher[];
  readonly retryKwargs?: { readonly maxRetries?: number | null; readonly countdown?: Duration };
  /** true is a base of one second, a number that many whole seconds, at least one: base x 2^retries. */
  readonly retryBackoff?: boolean | number;
  readonly retryBackoffMax?: Duration;
  /** Default true: with a backoff, evenly between 0 and the delay. */
  readonly retryJitter?: boolean;
  /** All of the above in one object; with it, every error is retried unless `for` or `except` says otherwise. */
  readonly retry?: RetryOptions;
  /** Which failures are kept with the dead letters, and where they are published too. Default: the setting `taskDeadLetter`. */
  readonly deadLetter?: DeadLetterInput;
  /** Errors that are expected: logged in one line without a stack, and never retried by themselves. */
  readonly throws?: readonly ErrorMatcher[];

  // Hooks, run where the task runs. What they throw is logged and changes nothing.
  readonly beforeStart?: (ctx: TaskContext) => unknown;
  readonly onSuccess?: (value: unknown, ctx: TaskContext) => unknown;
  readonly onFailure?: (error: unknown, ctx: TaskContext) => unknown;
  readonly onRetry?: (error: unknown, ctx: TaskContext) => unknown;
  readonly afterReturn?: (state: string, value: unknown, ctx: TaskContext) => unknown;
}

export type ExchangeType = "direct" | "topic" | "fanout";
export type DeliveryMode = 1 | 2 | "transient" | "persistent";
export type PoolName = "async" | "threads" | "processes";

/** An error class, the name of one (`"ConnectionRefusedError"`, an `error.name`, or a system error's `code`), or a function that decides. */
export type ErrorMatcher = ErrorClass | string | ((error: unknown) => boolean);
export type ErrorClass = abstract new (...args: never[]) => Error;

export interface RetryOptions {
  /** Attempts after the first; null retries for ever. Default 3. */
  readonly maxRetries?: number | null;
  /** No attempt begins later than this after the first one began. Default: no such limit. */
  readonly maxElapsed?: Duration;
  /** A curve, or a function of your own. Default: exponential from one second to ten minutes, with full jitter. */
  readonly backoff?: Backoff | BackoffFunction;
  /** Default: every error. */
  readonly for?: readonly ErrorMatcher[];
  readonly except?: readonly ErrorMatcher[];
  /**
   * Whether an HTTP error's `Retry-After` puts off the next attempt: up to the backoff's `max` (true, the default; ten
   * minutes where it has none), up to a duration of its own, or not at all (false).
   */
  readonly retryAfter?: boolean | Duration;
}

export type Backoff =
  /** The same delay each time. */
  | { readonly kind: "fixed"; readonly delay: Duration; readonly jitter?: Jitter }
  /** base, 2 x base, 3 x base ... up to `max` (default ten minutes, here and below). */
  | { readonly kind: "linear"; readonly base: Duration; readonly max?: Duration; readonly jitter?: Jitter }
  /** base, 2 x base, 4 x base ... */
  | { readonly kind: "exponential"; readonly base: Duration; readonly max?: Duration; readonly jitter?: Jitter }
  /** Picked evenly between base and three times the delay before. It is its own jitter. */
  | { readonly kind: "decorrelated"; readonly base: Duration; readonly max?: Duration };

/** The delay after the attempt of this number failed, the first being 1; null: fail now. What it throws is the failure. */
export type BackoffFunction = (error: unknown, attempt: number) => Duration | null;

/** Default `full`: picks evenly between 0 and the delay. `equal`: between half of it and all of it. */
export type Jitter = "none" | "full" | "equal";

/** Options after annotations, settings and defaults: nothing is left open, times are ms. */
export interface ResolvedTaskOptions {
  /** What the task itself says about its route and encoding: routers and settings come after it. */
  readonly routing: RoutingOptions;
  /** Of its messages, where neither the call nor a route says otherwise. */
  readonly serializer: string;
  readonly compression: string | undefined;
  readonly expiresMs: number | undefined;
  readonly fairKey: FairKeyOption;
  /** undefined: none. */
  readonly encrypt: readonly EncryptedPath[] | undefined;
  readonly pool: PoolName | undefined;
  readonly timeLimitMs: number | undefined;
  readonly softTimeLimitMs: number | undefined;
  /** The task's own limits, without the settings': what its messages carry. */
  readonly ownTimeLimitMs: number | undefined;
  readonly ownSoftTimeLimitMs: number | undefined;
  /** Starts per second; undefined is unlimited. */
  readonly ratePerSecond: number | undefined;
  /** For all workers together. */
  readonly limits: readonly TaskLimit[];
  /** undefined: calls are not looked at for duplicates. */
  readonly unique: ResolvedUnique | undefined;
  readonly acksLate: boolean;
  readonly acksOnFailure: boolean;
  readonly acksOnTimeout: boolean;
  readonly rejectOnWorkerLost: boolean;
  readonly idempotent: boolean;
  readonly ignoreResult: boolean;
  readonly storeErrorsEvenIfIgnored: boolean;
  readonly trackStarted: boolean;
  readonly storeEagerResult: boolean;
  /** undefined keeps results for ever. */
  readonly resultExpiresMs: number | undefined;
  readonly trail: boolean;
  readonly sendEvents: boolean;
  readonly resultreprMaxsize: number;
  readonly retry: ResolvedRetry;
  /** Undefined: that of the queue, else of the app. */
  readonly deadLetter: DeadLetterPolicy | undefined;
  readonly throws: readonly ErrorMatcher[];
  readonly hooks: TaskHooks;
  /** Its function takes many messages at once. */
  readonly batch: ResolvedBatch | undefined;
  /** Calls with the same key become one. */
  readonly aggregate: ResolvedAggregate | undefined;
}

export interface ResolvedRetry {
  /** undefined retries for ever. */
  readonly maxRetries: number | undefined;
  /** From the begin of the first attempt; undefined is no limit. */
  readonly maxElapsedMs: number | undefined;
  /** Errors that are retried by themselves. */
  readonly matches: readonly ErrorMatcher[] | "all" | "none";
  readonly except: readonly ErrorMatcher[];
  readonly backoff: ResolvedBackoff;
  /** What a `ctx.retry()` that names no delay goes by. */
  readonly byHand: ResolvedBackoff;
  /** The longest `Retry-After` that is heeded; undefined heeds none. */
  readonly retryAfterMaxMs: number | undefined;
}

export type ResolvedBackoff = ResolvedCurve | { readonly kind: "function"; readonly delay: BackoffFunction };

export interface ResolvedCurve {
  readonly kind: Backoff["kind"];
  readonly baseMs: number;
  readonly maxMs: number;
  /** Says nothing of `decorrelated`. */
  readonly jitter: Jitter;
}

export type TaskHooks = Pick<TaskOptions, "beforeStart" | "onSuccess" | "onFailure" | "onRetry" | "afterReturn">;
