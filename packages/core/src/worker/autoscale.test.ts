import { expect, test } from "vitest";
import { Autoscale } from "./autoscale.ts";

test("it doubles while all slots are taken, up to the most", () => {
  const scale = new Autoscale({ max: 10, min: 2 }, 0);
  expect(scale.next(2, 1, 0, 1000)).toBe(2);
  expect(scale.next(2, 2, 0, 2000)).toBe(4);
  expect(scale.next(4, 4, 3, 3000)).toBe(8);
  expect(scale.next(8, 8, 0, 4000)).toBe(10);
  expect(scale.next(10, 10, 5, 5000)).toBe(10);
});

test("after half a minute it keeps as many as ran at once in that time, and never less than the least", () => {
  const scale = new Autoscale({ max: 10, min: 2 }, 0);
  expect(scale.next(10, 4, 0, 10_000)).toBe(10);
  expect(scale.next(10, 1, 0, 29_000)).toBe(10);
  expect(scale.next(10, 0, 0, 30_000)).toBe(4);
  expect(scale.next(4, 0, 0, 59_000)).toBe(4);
  expect(scale.next(4, 0, 0, 60_000)).toBe(2);
});

test("what was resized by hand comes back between its numbers", () => {
  const scale = new Autoscale({ max: 4, min: 2 }, 0);
  expect(scale.next(8, 0, 0, 1000)).toBe(4);
  expect(scale.next(1, 0, 0, 2000)).toBe(2);
});
