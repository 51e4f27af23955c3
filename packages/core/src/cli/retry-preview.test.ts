import { expect, test } from "vitest";
import type { RetryOptions } from "../app/task-options.ts";
import { memoryApp } from "../testing/memory-app.ts";
import { previewRetries } from "./commands/retry-preview.ts";

function preview(retry: RetryOptions, attempts: number, seed = 1) {
  const task = memoryApp().task({ name: "t", retry, run() {} });
  return previewRetries(task.options.retry, attempts, seed);
}

test("without jitter the schedule is certain", () => {
  const rows = preview({ backoff: { kind: "exponential", base: 10, max: 30, jitter: "none" } }, 4);
  expect(rows.map(({ attempt, minMs, maxMs, exampleMs, afterMaxMs }) => [attempt, minMs, maxMs, exampleMs, afterMaxMs])).toEqual([
    [1, 0, 0, 0, 0],
    [2, 10_000, 10_000, 10_000, 10_000],
    [3, 20_000, 20_000, 20_000, 30_000],
    [4, 30_000, 30_000, 30_000, 60_000],
  ]);
});

test.each(["none", "full", "equal"] as const)("jitter %s: examples lie in their range, and a seed repeats them", (jitter) => {
  const policy: RetryOptions = { backoff: { kind: "linear", base: 10, jitter } };
  const rows = preview(policy, 8, 7);
  expect(rows.every(({ minMs, maxMs, exampleMs }) => exampleMs >= minMs && exampleMs <= maxMs)).toBe(true);
  expect(preview(policy, 8, 7)).toEqual(rows);
  if (jitter !== "none") expect(preview(policy, 8, 8)).not.toEqual(rows);
});

test("decorrelated ranges grow threefold up to the cap", () => {
  const rows = preview({ backoff: { kind: "decorrelated", base: 1, max: 20 } }, 5);
  expect(rows.slice(1).map(({ minMs, maxMs }) => [minMs, maxMs])).toEqual([
    [1000, 3000],
    [1000, 9000],
    [1000, 20_000],
    [1000, 20_000],
  ]);
});

test("attempts that cannot begin in time are left out, as are those that only a function knows", () => {
  expect(preview({ maxElapsed: "25s", backoff: { kind: "fixed", delay: 10, jitter: "none" } }, 9)).toHaveLength(3);
  expect(preview({ backoff: () => 1 }, 9)).toHaveLength(1);
});
