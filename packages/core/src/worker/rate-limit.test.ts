import { expect, test } from "vitest";

import { RateLimiter } from "./rate-limit.ts";

test("starts of one task are spaced evenly, those of others are not touched, and idle time is not saved up", () => {
  const limiter = new RateLimiter();
  expect([0, 0, 0].map((now) => limiter.reserve("a", 4, now))).toEqual([0, 250, 500]);
  expect(limiter.reserve("b", 4, 10)).toBe(10);
  expect([5000, 5000].map((now) => limiter.reserve("a", 4, now))).toEqual([5000, 5250]);
});

test("what is sent away comes back one after the other, behind those that wait, and takes no start meanwhile", () => {
  const limiter = new RateLimiter();
  expect([0, 0].map((now) => limiter.reserve("a", 4, now))).toEqual([0, 250]);
  expect([0, 0].map((now) => limiter.comeBackAt("a", 4, now))).toEqual([750, 1000]);
  expect(limiter.reserve("a", 4, 750)).toBe(750);
  limiter.forget("a");
  expect(limiter.reserve("a", 4, 100)).toBe(100);
});
