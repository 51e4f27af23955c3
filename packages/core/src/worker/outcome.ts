/**
 * What became of one run of a task, as plain facts. A pool makes it; `settlement.ts` turns it into what is told to the
 * broker and the result backend. What a task asked for by throwing is turned into an outcome here, and travels as
 * data from then on.
 */
import type { HandOver } from "../canvas/replace.ts";
import { isTaskSignal, type RetryPlan } from "../app/task-signals.ts";
import { LovageError } from "../shared/errors.ts";

export type Outcome =
  | { readonly kind: "succeeded"; readonly value: unknown }
  | {
      readonly kind: "failed";
      readonly error: unknown;
      /** Its retry options were weighed where it failed: its error has lost its class since. */
      readonly isWeighed?: boolean;
      /** The task's `throws` names it; undefined: not looked at yet. */
      readonly isExpected?: boolean;
    }
  /** `isAutomatic`: its options asked for it, not the task. */
  | { readonly kind: "retry"; readonly plan: RetryPlan; readonly isAutomatic?: boolean }
  /** Nothing was attempted: it is to run again later, as it is. */
  | {
      readonly kind: "snoozed";
      readonly delayMs: number;
      /** Nothing else under its limits starts before that either. */
      readonly holdsLimit?: boolean;
    }
  /** An iteration was interrupted between two steps; how far it came stands with the run. Nothing was attempted in vain. */
  | { readonly kind: "yielded"; readonly to: "front" | "back" }
  | { readonly kind: "ignored" }
  /** Something else runs in its place: its own end says nothing. */
  | { readonly kind: "replaced"; readonly by: HandOver }
  | { readonly kind: "rejected"; readonly requeue: boolean; readonly reason: unknown }
  /** It waited, or ran, beyond its hard limit; a pool that can has ended it. */
  | { readonly kind: "timedOut"; readonly limitMs: number }
  /** `signum`: of the signal that it was to be terminated with. */
  | { readonly kind: "revoked"; readonly how: "revoked" | "terminated" | "expired"; readonly signum?: number }
  /** The process or thread that ran it died. */
  | { readonly kind: "childLost"; readonly error: unknown }
  /** The worker stopped before the task had ended. */
  | { readonly kind: "interrupted" }
  /** The broker has lent the message to someone else. */
  | { readonly kind: "leaseLost" };

/** What a task threw, as an outcome. */
export function outcomeOfThrown(thrown: unknown): Outcome {
  if (!isTaskSignal(thrown)) return { kind: "failed", error: thrown };
  switch (thrown.kind) {
    case "retry":
      return { kind: "retry", plan: thrown.plan };
    case "snooze":
      return { kind: "snoozed", delayMs: thrown.delayMs, ...(thrown.holdsLimit && { holdsLimit: true }) };
    case "interruption":
      return { kind: "yielded", to: thrown.to };
    case "ignore":
      return { kind: "ignored" };
    case "replace":
      return { kind: "replaced", by: thrown.by };
    case "reject":
      return { kind: "rejected", requeue: thrown.requeue, reason: thrown.reason };
  }
}

/** Why a task's signal aborted: the broker gave its message to another worker, as this one's lease had run out. Stop; nothing it does counts. */
export class LeaseLostError extends LovageError {
  readonly code = "LEASE_LOST";

  constructor() {
    super("this worker's lease ran out and the broker gave the task's message to another worker");
  }
}

/** Why a task's signal aborted: the worker stops and its grace is over. Its message goes back to the queue. */
export class WorkerStoppedError extends LovageError {
  readonly code = "WORKER_STOPPED";

  constructor() {
    super("the worker stops: the task's message goes back to its queue");
  }
}
