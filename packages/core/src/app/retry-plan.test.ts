import fc from "fast-check";
import { expect, test } from "vitest";
import { TaskArgumentsError } from "./errors.ts";
import {
  type AttemptFacts,
  backoffDelayMs,
  backoffRangeMs,
  decideAutomaticRetry,
  decideRetry,
  hasRetryLeft,
  matchesError,
  retriesByItself,
} from "./retry-plan.ts";
import { resolveTaskOptions } from "./resolve-task-options.ts";
import { resolveSettings, type SettingsInput } from "./settings.ts";
import { storeDefinition } from "./task-definition.ts";
import type { ResolvedCurve, ResolvedTaskOptions, RetryOptions, TaskOptions } from "./task-options.ts";
import { NonRetryableError } from "./task-signals.ts";

function resolved(options: TaskOptions, settings: SettingsInput = {}): ResolvedTaskOptions {
  const all = resolveSettings([{ origin: "the code", values: settings }], "CELERY").settings;
  return resolveTaskOptions(
    storeDefinition("t", options, () => {}),
    all,
  );
}

function curve(options: TaskOptions): ResolvedCurve {
  const { backoff } = resolved(options).retry;
  if (backoff.kind === "function") throw new Error("a function is no curve");
  return backoff;
}

const NOW = 1_700_000_000_000;
const first: AttemptFacts = { retries: 0, headers: {}, startedAt: NOW, now: NOW };
const delayOf = (retry: RetryOptions, error: unknown, facts: AttemptFacts = first): number | undefined =>
  decideAutomaticRetry(error, facts, resolved({ retry }).retry, () => 0.5)?.delayMs;

test("Celery's guide: 2^retries x 10 seconds gives 10, 20, 40, 80, 160, capped at the maximum", () => {
  const backoff = curve({ autoretryFor: [Error], retryBackoff: 10, retryBackoffMax: 100, retryJitter: false });
  expect([0, 1, 2, 3, 4].map((retries) => backoffDelayMs(backoff, retries, () => 0.5))).toEqual([10_000, 20_000, 40_000, 80_000, 100_000]);
});

test("full jitter picks between nothing and the whole delay", () => {
  const backoff = curve({ autoretryFor: [Error], retryBackoff: true });
  expect(backoffDelayMs(backoff, 3, () => 0)).toBe(0);
  expect(backoffDelayMs(backoff, 3, () => 0.999999)).toBe(8000);
});

test("linear and fixed", () => {
  const linear = curve({ retry: { backoff: { kind: "linear", base: "2s", max: "5s", jitter: "none" } } });
  expect([0, 1, 2].map((retries) => backoffDelayMs(linear, retries, () => 0))).toEqual([2000, 4000, 5000]);
  const fixed = curve({ retry: { backoff: { kind: "fixed", delay: 7, jitter: "none" } } });
  expect(backoffDelayMs(fixed, 9, () => 0)).toBe(7000);
});

test("limits: three by default, from the settings, from the task, or none", () => {
  expect(resolved({}).retry).toMatchObject({ maxRetries: 3, byHand: { baseMs: 180_000 }, matches: "none" });
  expect(resolved({}, { taskDefaultMaxRetries: 5, taskDefaultRetryDelay: 10 }).retry).toMatchObject({
    maxRetries: 5,
    byHand: { baseMs: 10_000 },
  });
  expect(resolved({ maxRetries: null }).retry.maxRetries).toBeUndefined();
  expect(resolved({ retry: { maxRetries: 1 } }).retry).toMatchObject({ maxRetries: 1, matches: "all" });
  expect([hasRetryLeft(2, 3), hasRetryLeft(3, 3), hasRetryLeft(1e9, undefined)]).toEqual([true, false, true]);
});

test("which errors are retried by themselves", () => {
  const all = resolved({ retry: { except: ["TypeError"] } }).retry;
  expect(retriesByItself(new Error("x"), all)).toBe(true);
  expect(retriesByItself(new TypeError("x"), all)).toBe(false);
  expect(retriesByItself(new NonRetryableError("x"), all)).toBe(false);
  expect(retriesByItself(new TaskArgumentsError("t", ["x"]), all)).toBe(false);
  expect(retriesByItself(new Error("x"), resolved({}).retry)).toBe(false);
  const some = resolved({ autoretryFor: [RangeError, (error) => error === "thrown text"] }).retry;
  expect(retriesByItself(new RangeError("x"), some)).toBe(true);
  expect(retriesByItself("thrown text", some)).toBe(true);
  expect(retriesByItself(new Error("x"), some)).toBe(false);
});

test("errors match by class, by a name in their ancestry, by code and by Python's name", () => {
  class HttpError extends Error {
    override readonly name = "HttpError";
  }
  class TooMany extends HttpError {}
  expect(matchesError(new TooMany(), HttpError)).toBe(true);
  expect(matchesError(new TooMany(), "HttpError")).toBe(true);
  expect(matchesError(new TooMany(), "TooMany")).toBe(true);
  expect(matchesError(new TooMany(), "Other")).toBe(false);
  const refused = Object.assign(new Error("connect"), { code: "ECONNREFUSED" });
  expect(matchesError(refused, "ECONNREFUSED")).toBe(true);
  expect(matchesError(refused, "ConnectionRefusedError")).toBe(true);
  expect(matchesError(refused, "ConnectionError")).toBe(true);
  expect(matchesError("text", "Error")).toBe(false);
});

test("annotations win over the task's own options, by name and by glob", () => {
  const settings: SettingsInput = { taskAnnotations: { "*": { rate_limit: "60/m" } as never, t: { timeLimit: 9 } } };
  expect(resolved({ timeLimit: 5 }, settings)).toMatchObject({ timeLimitMs: 9000, ratePerSecond: 1 });
  expect(() => resolved({}, { taskAnnotations: { t: { timelimit: 9 } as never } })).toThrow(
    '"timelimit" is not an option of a task (t). Did you mean "timeLimit"?',
  );
});

test("options that are wrong are refused by name", () => {
  expect(() => resolved({ timeLimit: "soon" as never })).toThrow('timeLimit of the task t is "soon"');
  expect(() => resolved({ rateLimit: "many" })).toThrow("rateLimit of the task t");
  expect(() => resolved({ retry: {}, autoretryFor: [Error] })).toThrow("has both retry and autoretryFor");
  expect(() => resolved({ bind: true } as never)).toThrow(
    '"bind" is not an option of a task (t): the task\'s context is the first parameter',
  );
});

test("limits of the settings are no part of the task's messages", () => {
  expect(resolved({}, { taskTimeLimit: 30 })).toMatchObject({ timeLimitMs: 30_000, ownTimeLimitMs: undefined });
});

// --- properties ------------------------------------------------------------------------------------------------------

const curves = fc.record({
  kind: fc.constantFrom("fixed", "linear", "exponential", "decorrelated"),
  baseMs: fc.integer({ min: 0, max: 100_000 }),
  maxMs: fc.integer({ min: 0, max: 1_000_000 }),
  jitter: fc.constantFrom("none", "full", "equal"),
}) satisfies fc.Arbitrary<ResolvedCurve>;
const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

test("property: every delay is within nothing and the cap, and within the range that the preview shows", () => {
  fc.assert(
    fc.property(curves, fc.nat(2000), chance, fc.nat(1_000_000), (backoff, retries, random, lastMs) => {
      const delayMs = backoffDelayMs(backoff, retries, () => random, lastMs);
      const [from, to] = backoffRangeMs(backoff, retries, lastMs);
      expect(delayMs).toBeGreaterThanOrEqual(Math.max(0, from));
      expect(delayMs).toBeLessThanOrEqual(Math.min(to, backoff.maxMs));
    }),
  );
});

test("property: decorrelated delays lie between the base and three times the one before, which the message carries", () => {
  const runs = fc.array(chance, { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(runs, (randoms) => {
      const { retry } = resolved({ retry: { maxRetries: null, backoff: { kind: "decorrelated", base: "1s", max: "1m" } } });
      let [facts, lastMs] = [first, 1000];
      for (const random of randoms) {
        const step = decideRetry({ error: undefined }, facts, retry, () => random);
        const delayMs = step?.delayMs ?? -1;
        expect(delayMs).toBeGreaterThanOrEqual(1000);
        expect(delayMs).toBeLessThanOrEqual(Math.min(60_000, lastMs * 3));
        facts = { ...facts, retries: facts.retries + 1, headers: { ...facts.headers, ...step?.changes.headers } };
        lastMs = delayMs;
      }
    }),
  );
});

test("property: no attempt begins later than maxElapsed after the first one began, whatever other retries came between", () => {
  const steps = fc.array(fc.record({ random: chance, runMs: fc.nat(30_000), byHandMs: fc.option(fc.nat(60_000), { nil: undefined }) }));
  fc.assert(
    fc.property(steps, (attempts) => {
      const { retry } = resolved({ retry: { maxRetries: null, maxElapsed: "2m", backoff: { kind: "exponential", base: "1s" } } });
      let facts = first;
      for (const { random, runMs, byHandMs } of attempts) {
        const ended = { ...facts, now: facts.startedAt + runMs };
        const step = decideRetry({ error: undefined, delayMs: byHandMs }, ended, retry, () => random);
        if (step === undefined) return;
        const startedAt = ended.now + step.delayMs;
        expect(startedAt - NOW).toBeLessThanOrEqual(120_000);
        facts = { retries: step.retries, headers: { ...facts.headers, ...step.changes.headers }, startedAt, now: startedAt };
      }
    }),
  );
});

test("ten thousand tasks that fail at once: with full jitter over 10 s no 100 ms holds more than three times the mean", () => {
  const buckets = Array.from({ length: 101 }, () => 0);
  const backoff = curve({ retry: { backoff: { kind: "exponential", base: "10s" } } });
  for (let task = 0; task < 10_000; task++) {
    const bucket = Math.floor(backoffDelayMs(backoff, 0, Math.random) / 100);
    buckets[bucket] = (buckets[bucket] ?? 0) + 1;
  }
  expect(Math.max(...buckets)).toBeLessThan(300);
});

// --- policies --------------------------------------------------------------------------------------------------------

test("a header of the first attempt that is no time, or lies ahead, counts as none", () => {
  const policy: RetryOptions = { maxElapsed: "10s", backoff: { kind: "fixed", delay: 5, jitter: "none" } };
  const at = (value: unknown): AttemptFacts => ({ ...first, headers: { lovage_first_attempt_at: value } });
  expect(delayOf(policy, new Error("x"), at(NOW - 4000))).toBe(5000);
  expect(delayOf(policy, new Error("x"), at(NOW - 6000))).toBeUndefined();
  expect(delayOf(policy, new Error("x"), at("yesterday"))).toBe(5000);
  expect(delayOf(policy, new Error("x"), at(NOW + 60_000))).toBe(5000);
});

test("a function of error and attempt says when, or that it is over; what it answers wrongly is an error", () => {
  const seen: unknown[] = [];
  const backoff = (error: unknown, attempt: number) => {
    seen.push([(error as Error).message, attempt]);
    return attempt < 3 ? ("250ms" as const) : null;
  };
  expect(delayOf({ maxRetries: null, backoff }, new Error("x"))).toBe(250);
  expect(delayOf({ maxRetries: null, backoff }, new Error("x"), { ...first, retries: 2 })).toBeUndefined();
  expect(seen).toEqual([
    ["x", 1],
    ["x", 3],
  ]);
  expect(() => delayOf({ backoff: () => "soon" as never }, new Error("x"))).toThrow(
    'the backoff function answered "soon": it may answer null',
  );
});

test("Retry-After puts the attempt off, never brings it forward, up to the cap or to a bound of its own", () => {
  const backoff = { kind: "exponential", base: "2s", max: "30s", jitter: "none" } as const;
  const told = (retryAfter: unknown) => Object.assign(new Error("429"), { retryAfter });
  expect(delayOf({ backoff }, told(10))).toBe(10_000);
  expect(delayOf({ backoff }, told(1))).toBe(2000);
  expect(delayOf({ backoff }, told(3600))).toBe(30_000);
  expect(delayOf({ backoff, retryAfter: "2h" }, told(3600))).toBe(3_600_000);
  expect(delayOf({ backoff, retryAfter: false }, told(10))).toBe(2000);
  const celery = resolved({ autoretryFor: [Error], retryBackoff: 2, retryJitter: false }).retry;
  expect(decideAutomaticRetry(told(10), first, celery, () => 0)?.delayMs).toBe(2000); // Celery knows nothing of it
});

test("a delay of nothing stays nothing, however often it is doubled", () => {
  const backoff = { kind: "exponential", baseMs: 0, maxMs: 1000, jitter: "full" } as const;
  expect(backoffDelayMs(backoff, 2000, () => 0.5)).toBe(0);
});

test("Celery's names mean what they mean in Celery", () => {
  const base = (retryBackoff: boolean | number) => curve({ autoretryFor: [Error], retryBackoff }).baseMs;
  expect([base(true), base(5), base(2.7), base(0.5)]).toEqual([1000, 5000, 2000, 1000]);
  expect(curve({ autoretryFor: [Error], retryBackoff: true })).toMatchObject({ maxMs: 600_000, jitter: "full" });
  const fixed = { kind: "fixed", jitter: "none" };
  expect(curve({ autoretryFor: [Error], retryBackoff: 0 })).toMatchObject({ ...fixed, baseMs: 180_000 });
  expect(curve({ autoretryFor: [Error], retryKwargs: { countdown: 5 } })).toMatchObject({ ...fixed, baseMs: 5000 });
  expect(curve({ autoretryFor: [Error], retryBackoff: 7, retryKwargs: { countdown: 5 } })).toMatchObject({
    kind: "exponential",
    baseMs: 7000,
  });
  expect(resolved({ autoretryFor: [Error], maxRetries: 4, retryKwargs: { maxRetries: null } }).retry.maxRetries).toBe(4);
  expect(resolved({ autoretryFor: [Error], maxRetries: 4, retryKwargs: { maxRetries: 7 } }).retry.maxRetries).toBe(7);
  // retry() by hand takes default_retry_delay, whatever the backoff of autoretry_for.
  expect(resolved({ autoretryFor: [Error], retryBackoff: 7, retryKwargs: { countdown: 5 } }).retry.byHand).toMatchObject({
    ...fixed,
    baseMs: 180_000,
  });
});

test("expected errors are not retried by themselves", () => {
  expect(retriesByItself(new RangeError("x"), resolved({ retry: {}, throws: [RangeError] }).retry)).toBe(false);
  expect(retriesByItself(new RangeError("x"), resolved({ autoretryFor: [Error], dontAutoretryFor: [RangeError] }).retry)).toBe(false);
});

test("a kind of backoff or jitter that does not exist is refused by name", () => {
  expect(() => resolved({ retry: { backoff: { kind: "cubic", base: 1 } as never } })).toThrow(
    'retry.backoff.kind of the task t is "cubic"',
  );
  expect(() => resolved({ retry: { backoff: { kind: "fixed", delay: 1, jitter: "some" as never } } })).toThrow(
    'retry.backoff.jitter of the task t is "some"',
  );
  expect(() => resolved({ retry: { maxElapsed: "soon" as never } })).toThrow("retry.maxElapsed of the task t");
});
