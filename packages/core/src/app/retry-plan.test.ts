import { expect, test } from "vitest";
import { TaskArgumentsError } from "./errors.ts";
import { backoffDelayMs, hasRetryLeft, matchesError, retriesByItself } from "./retry-plan.ts";
import { resolveTaskOptions } from "./resolve-task-options.ts";
import { resolveSettings, type SettingsInput } from "./settings.ts";
import { storeDefinition } from "./task-definition.ts";
import type { ResolvedTaskOptions, TaskOptions } from "./task-options.ts";
import { NonRetryableError } from "./task-signals.ts";

function resolved(options: TaskOptions, settings: SettingsInput = {}): ResolvedTaskOptions {
  const all = resolveSettings([{ origin: "the code", values: settings }], "CELERY").settings;
  return resolveTaskOptions(
    storeDefinition("t", options, () => {}),
    all,
  );
}

test("Celery's guide: 2^retries x 10 seconds gives 10, 20, 40, 80, 160, capped at the maximum", () => {
  const { backoff } = resolved({ autoretryFor: [Error], retryBackoff: 10, retryBackoffMax: 100, retryJitter: false }).retry;
  expect([0, 1, 2, 3, 4].map((retries) => backoffDelayMs(backoff, retries, () => 0.5))).toEqual([10_000, 20_000, 40_000, 80_000, 100_000]);
});

test("full jitter picks between nothing and the whole delay", () => {
  const { backoff } = resolved({ autoretryFor: [Error], retryBackoff: true }).retry;
  expect(backoffDelayMs(backoff, 3, () => 0)).toBe(0);
  expect(backoffDelayMs(backoff, 3, () => 0.999999)).toBe(8000);
});

test("linear and fixed", () => {
  const linear = resolved({ retry: { backoff: { kind: "linear", base: "2s", max: "5s", jitter: "none" } } }).retry.backoff;
  expect([0, 1, 2].map((retries) => backoffDelayMs(linear, retries, () => 0))).toEqual([2000, 4000, 5000]);
  const fixed = resolved({ retry: { backoff: { kind: "fixed", delay: 7, jitter: "none" } } }).retry.backoff;
  expect(backoffDelayMs(fixed, 9, () => 0)).toBe(7000);
});

test("limits: three by default, from the settings, from the task, or none", () => {
  expect(resolved({}).retry).toMatchObject({ maxRetries: 3, defaultDelayMs: 180_000, matches: "none" });
  expect(resolved({}, { taskDefaultMaxRetries: 5, taskDefaultRetryDelay: 10 }).retry).toMatchObject({
    maxRetries: 5,
    defaultDelayMs: 10_000,
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
