/**
 * What a task asks for by throwing. The worker turns each into an outcome at once; nothing else may catch them.
 * Recognised by a brand and not by class: a task's module may have been loaded beside a second copy of this one.
 */
import type { HandOver } from "../canvas/replace.ts";
import { delaySeconds } from "../shared/duration.ts";

const BRAND = Symbol.for("lovage.taskSignal");

export type TaskSignalKind = "retry" | "snooze" | "ignore" | "replace" | "reject" | "interruption";

abstract class TaskSignalBase extends Error {
  abstract readonly kind: TaskSignalKind;
  readonly [BRAND] = true;
}

/** Run again later. Made by `ctx.retry()`, which has already checked that a retry is left. */
export class Retry extends TaskSignalBase {
  readonly kind = "retry";
  readonly plan: RetryPlan;

  constructor(plan: RetryPlan) {
    super(`Retry in ${delaySeconds(plan.delayMs)}s`, { cause: plan.error });
    this.name = "Retry";
    this.plan = plan;
  }
}

export interface RetryPlan {
  /** From now until it may run; 0 at once. */
  readonly delayMs: number;
  /** An absolute time that was asked for, ms since 1970; then `delayMs` is what is left until it. */
  readonly etaAt: number | undefined;
  /** Attempts made once this retry runs: the `retries` header of the new message. */
  readonly retries: number;
  /** Why. Stored with the RETRY state. */
  readonly error: unknown;
  /** Its delay is the same each time for every task of the kind: those that failed together come back together. */
  readonly isSteady?: boolean;
  /** What differs from the message that is retried. */
  readonly changes: RetryChanges;
}

export interface RetryChanges {
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly queue?: string;
  readonly exchange?: string;
  readonly routingKey?: string;
  readonly priority?: number;
  readonly timeLimitMs?: number;
  readonly softTimeLimitMs?: number;
  /** null removes the expiry. */
  readonly expiresAt?: number | null;
  readonly headers?: Readonly<Record<string, unknown>>;
}

/** Run again later, without having made an attempt. Made by `ctx.snooze()`. */
export class Snooze extends TaskSignalBase {
  readonly kind = "snooze";
  readonly delayMs: number;
  /** Its limits hold back everything else under them for as long. */
  readonly holdsLimit: boolean;

  constructor(delayMs: number, holdsLimit = false) {
    super(`Snooze for ${delayMs / 1000}s`);
    this.name = "Snooze";
    this.delayMs = delayMs;
    this.holdsLimit = holdsLimit;
  }
}

/** Acknowledge, and store nothing. Made by `ctx.ignore()`. */
export class Ignore extends TaskSignalBase {
  readonly kind = "ignore";

  constructor() {
    super("the task asked to be ignored");
    this.name = "Ignore";
  }
}

/** Run something else instead. Made by `ctx.replace()`. */
export class Replace extends TaskSignalBase {
  readonly kind = "replace";
  readonly by: HandOver;

  constructor(by: HandOver) {
    super("the task was replaced");
    this.name = "Replace";
    this.by = by;
  }
}

/** Reject the message: back to its queue, or to the dead letters. Made by `ctx.reject()`. */
export class Reject extends TaskSignalBase {
  readonly kind = "reject";
  readonly requeue: boolean;
  readonly reason: unknown;

  constructor(reason?: unknown, options: { readonly requeue?: boolean } = {}) {
    super("the task rejected its message", { cause: reason });
    this.name = "Reject";
    this.reason = reason;
    this.requeue = options.requeue ?? false;
  }
}

/** The run ends between two steps of an iteration, and its message goes back with the cursor. Made by `ctx.iterate()`. */
export class Interruption extends TaskSignalBase {
  readonly kind = "interruption";
  /** Where in its queue: the front when the worker stops, the back to give others their turn. */
  readonly to: "front" | "back";

  constructor(to: "front" | "back") {
    super("the task is interrupted between two steps and goes on later: let this error pass");
    this.name = "Interruption";
    this.to = to;
  }
}

export type TaskSignal = Retry | Snooze | Ignore | Replace | Reject | Interruption;

export function isTaskSignal(error: unknown): error is TaskSignal {
  return typeof error === "object" && error !== null && BRAND in error;
}

/** Thrown by a task to fail at once, whatever its retry options say. */
export class NonRetryableError extends Error {
  constructor(message?: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "NonRetryableError";
  }
}
