/**
 * What a run's end counts as, once more is known than the run itself: its message is another's, the worker told it to
 * stop, or its options retry the error it ended with. Pure but for the user's own matchers and backoff functions, which may look at anything.
 */
import { type AttemptFacts, decideAutomaticRetry } from "../app/retry-plan.ts";
import type { ResolvedRetry } from "../app/task-options.ts";
import type { Random } from "../shared/clock.ts";
import type { Outcome } from "./outcome.ts";

/** @param told what the worker decided while it ran: the lease was lost, it was terminated, or it had to stop */
export function finalOutcome(
  reported: Outcome,
  told: Outcome | undefined,
  attempt: () => AttemptFacts,
  retry: ResolvedRetry,
  random: Random,
): Outcome {
  if (told?.kind === "leaseLost") return told;
  const hasFailed =
    reported.kind === "failed" || reported.kind === "childLost" || (reported.kind === "retry" && reported.isAutomatic === true);
  if (!hasFailed) return reported; // it succeeded, or asked for something, all the same
  if (told !== undefined) return told;
  if (reported.kind !== "failed" || reported.isWeighed) return reported;
  try {
    const step = decideAutomaticRetry(reported.error, attempt(), retry, random);
    return step === undefined ? reported : { kind: "retry", plan: { ...step, etaAt: undefined } };
  } catch (thrownByUser) {
    return { kind: "failed", error: thrownByUser };
  }
}
