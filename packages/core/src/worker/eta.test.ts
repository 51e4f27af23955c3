import fc from "fast-check";
import { expect, test } from "vitest";

import { FakeClock } from "../testing/fake-clock.ts";
import { DueHeap } from "./eta.ts";

function heapOf(clock: FakeClock): { heap: DueHeap<string>; due: string[] } {
  const due: string[] = [];
  const heap = new DueHeap<string>(
    clock,
    () => clock.now(),
    (items) => due.push(...items),
  );
  return { heap, due };
}

test("items come out at their time, in order of time and then of arrival", async () => {
  const clock = new FakeClock();
  const { heap, due } = heapOf(clock);
  const start = clock.now();
  heap.add(start + 3000, "c");
  heap.add(start + 1500, "a");
  heap.add(start + 1500, "b");
  await clock.advance(1499);
  expect(due).toEqual([]);
  await clock.advance(1);
  expect(due).toEqual(["a", "b"]);
  await clock.advance(1500);
  expect(due).toEqual(["a", "b", "c"]);
  expect(clock.pendingTimers).toBe(0);
});

test("any set of due times comes out sorted, on one timer", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 5000 }), { maxLength: 60 }), async (delays) => {
      const clock = new FakeClock();
      const at: number[] = [];
      const heap = new DueHeap<number>(
        clock,
        () => clock.now(),
        (items) => at.push(...items),
      );
      for (const delay of delays) heap.add(clock.now() + delay, delay);
      expect(clock.pendingTimers).toBeLessThanOrEqual(1);
      await clock.advance(5000);
      expect(at).toEqual(delays.toSorted((a, b) => a - b));
    }),
    { numRuns: 40 },
  );
});

test("a wall clock that is set forward makes items due within a second", async () => {
  const clock = new FakeClock();
  const { heap, due } = heapOf(clock);
  heap.add(clock.now() + 9000, "a");
  clock.jump(60_000);
  await clock.advance(1000);
  expect(due).toEqual(["a"]);
});

test("clear gives everything back, earliest first, and leaves no timer", () => {
  const clock = new FakeClock();
  const { heap } = heapOf(clock);
  for (const delay of [5, 1, 4, 2, 3]) heap.add(clock.now() + delay * 1000, String(delay));
  expect(heap.clear()).toEqual(["1", "2", "3", "4", "5"]);
  expect(heap.size).toBe(0);
  expect(clock.pendingTimers).toBe(0);
});
