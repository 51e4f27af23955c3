/** Hooks that run after a task's body, where and when Celery calls them: the result is stored, the message not acknowledged yet. */
import type { TaskContext } from "../app/task-context.ts";
import type { TaskHooks } from "../app/task-options.ts";
import { TimeLimitExceeded } from "../protocol/celery-errors.ts";
import type { Outcome } from "./outcome.ts";

export function hasEndHooks(hooks: TaskHooks): boolean {
  return Boolean(hooks.onSuccess ?? hooks.onFailure ?? hooks.onRetry ?? hooks.afterReturn);
}

/** `afterReturn` follows success and failure, not a retry (celery/app/trace.py, `IGNORE_STATES`). Rejects with what a hook threw. */
export async function runEndHooks(hooks: TaskHooks, outcome: Outcome, ctx: TaskContext): Promise<void> {
  switch (outcome.kind) {
    case "succeeded":
      await hooks.onSuccess?.(outcome.value, ctx);
      await hooks.afterReturn?.("SUCCESS", outcome.value, ctx);
      return;
    case "failed":
      return runFailureHooks(hooks, outcome.error, ctx);
    case "timedOut":
      return runFailureHooks(hooks, new TimeLimitExceeded(outcome.limitMs / 1000), ctx);
    case "retry":
      await hooks.onRetry?.(outcome.plan.error, ctx);
      return;
    case "snoozed":
    case "yielded":
    case "ignored":
    case "replaced":
    case "rejected":
    case "revoked":
    case "childLost":
    case "interrupted":
    case "leaseLost":
      return;
  }
}

async function runFailureHooks(hooks: TaskHooks, error: unknown, ctx: TaskContext): Promise<void> {
  await hooks.onFailure?.(error, ctx);
  await hooks.afterReturn?.("FAILURE", error, ctx);
}
