import { expect, test } from "vitest";

import type { ResolvedRetry } from "../app/task-options.ts";
import type { Outcome } from "./outcome.ts";
import { finalOutcome } from "./verdict.ts";

const NEVER: ResolvedRetry = {
  maxRetries: 3,
  matches: "none",
  except: [],
  backoff: { kind: "exponential", baseMs: 1000, maxMs: 60_000, jitter: "none" },
  byHand: { kind: "fixed", baseMs: 180_000, maxMs: 180_000, jitter: "none" },
  maxElapsedMs: undefined,
  retryAfterMaxMs: undefined,
};
const ALL: ResolvedRetry = { ...NEVER, matches: "all" };
const failed: Outcome = { kind: "failed", error: new Error("no") };
const succeeded: Outcome = { kind: "succeeded", value: 1 };
const leaseLost: Outcome = { kind: "leaseLost" };
const interrupted: Outcome = { kind: "interrupted" };

const attempt = (retries: number) => () => ({ retries, headers: {}, startedAt: 0, now: 0 });
const final = (reported: Outcome, told: Outcome | undefined, retries: number, retry: ResolvedRetry): string =>
  finalOutcome(reported, told, attempt(retries), retry, () => 0.5).kind;

test.each<[string, Outcome, Outcome | undefined, string]>([
  ["success stays", succeeded, undefined, "succeeded"],
  ["success counts even if it was told to stop", succeeded, interrupted, "succeeded"],
  ["failure of a task that was told to stop is that", failed, interrupted, "interrupted"],
  ["nothing counts once the lease is lost", succeeded, leaseLost, "leaseLost"],
  ["a failure stays when nothing retries it", failed, undefined, "failed"],
])("%s", (_, reported, told, kind) => {
  expect(final(reported, told, 0, NEVER)).toBe(kind);
});

test("errors that are retried become retries until none is left; one that was told to stop is not a retry", () => {
  expect(finalOutcome(failed, undefined, attempt(2), ALL, () => 0.5)).toMatchObject({ kind: "retry", plan: { delayMs: 4000, retries: 3 } });
  expect(final(failed, undefined, 3, ALL)).toBe("failed");
  expect(final(failed, interrupted, 0, ALL)).toBe("interrupted");
});

test("what was weighed where it failed is not weighed again, and yields to what the worker decided", () => {
  const weighed: Outcome = { kind: "failed", error: new Error("no"), isWeighed: true };
  const plan = { delayMs: 0, etaAt: undefined, retries: 1, error: undefined, changes: {} };
  expect(final(weighed, undefined, 0, ALL)).toBe("failed");
  expect(final(weighed, interrupted, 0, ALL)).toBe("interrupted");
  expect(final({ kind: "retry", plan, isAutomatic: true }, interrupted, 0, NEVER)).toBe("interrupted");
  expect(final({ kind: "retry", plan }, interrupted, 0, NEVER)).toBe("retry"); // the task asked for it
});

test("a child that died while its task was told to stop is no loss", () => {
  const lost: Outcome = { kind: "childLost", error: new Error("SIGKILL") };
  expect(final(lost, interrupted, 0, ALL)).toBe("interrupted");
  expect(final(lost, undefined, 0, ALL)).toBe("childLost");
});

test("a matcher that throws is the failure, instead of taking the worker with it", () => {
  const broken = new Error("matcher");
  const retry: ResolvedRetry = {
    ...NEVER,
    matches: [
      () => {
        throw broken;
      },
    ],
  };
  expect(finalOutcome(failed, undefined, attempt(0), retry, () => 0.5)).toEqual({ kind: "failed", error: broken });
});
