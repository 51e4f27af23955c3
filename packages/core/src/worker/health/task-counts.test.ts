import { expect, test } from "vitest";
import { ROWS_MAX, RUNTIME_BUCKETS, TaskCounts, TaskRows, WAIT_BUCKETS } from "./task-counts.ts";

test("what one thread counts is read by another from the same memory", () => {
  const main = new TaskCounts();
  const guard = new TaskCounts(main.memory);
  const labels = [
    { task: "a", queue: "q" },
    { task: "b", queue: "q" },
  ];
  main.noteReceived(1, false);
  main.noteReceived(1, true);
  main.noteStarted(1, 70_000);
  main.noteEnded(1, "succeeded", 40);
  main.noteEnded(1, "revoked", undefined);
  main.noteLost(1);
  main.noteRefused("undecodable");
  const [first, second] = guard.read(labels);
  expect(first).toMatchObject({ task: "a", received: 0, started: 0, lost: 0 });
  expect(second).toMatchObject({
    task: "b",
    received: 2,
    afterLoss: 1,
    started: 1,
    lost: 1,
    ended: { succeeded: 1, revoked: 1, failed: 0 },
  });
  expect(second?.runtime.sum).toBeCloseTo(0.04);
  expect(second?.runtime.counts).toEqual([...RUNTIME_BUCKETS, Infinity].map((bound) => (bound === 0.05 ? 1 : 0)));
  expect(second?.wait).toEqual({ sum: 70, counts: [...WAIT_BUCKETS, Infinity].map((bound) => (bound === 300 ? 1 : 0)) });
  expect(first?.runtime.counts.every((count) => count === 0)).toBe(true);
  expect([guard.refused("undecodable"), guard.refused("unknownTask")]).toEqual([1, 0]);
});

test("a value on a bound counts below it, and one beyond all bounds counts too", () => {
  const counts = new TaskCounts();
  counts.noteEnded(0, "succeeded", 5);
  counts.noteEnded(0, "succeeded", 1e9);
  const { runtime } = counts.read([{ task: "a", queue: "q" }])[0] ?? {};
  expect(runtime?.counts.at(0)).toBe(1);
  expect(runtime?.counts.at(-1)).toBe(1);
});

test("each task in each queue has its row; beyond the most there are, all others share one", () => {
  const told: unknown[] = [];
  const rows = new TaskRows<object>((labels) => told.push(labels));
  const tasks = Array.from({ length: ROWS_MAX + 5 }, () => ({}));
  const of = (i: number, queue = "q"): number => rows.of(tasks[i] as object, `t${i}`, queue);
  expect([of(0), of(1), of(0), of(0, "other")]).toEqual([0, 1, 0, 2]);
  for (let i = 0; i < tasks.length; i++) of(i);
  expect(rows.labels).toHaveLength(ROWS_MAX);
  expect(rows.labels.at(-1)).toEqual({ task: "(others)", queue: "(others)" });
  expect(of(ROWS_MAX + 4)).toBe(ROWS_MAX - 1);
  expect(of(ROWS_MAX + 4, "new")).toBe(ROWS_MAX - 1);
  expect(of(ROWS_MAX - 4)).not.toBe(of(ROWS_MAX - 5));
  expect(told).toEqual(rows.labels);
});
