import fc from "fast-check";
import { expect, test } from "vitest";

import { afterChange, afterHold, afterLateStart, afterRefund, afterStart, CATCH_UP_MS, countedFrom, earliestStart } from "./gcra.ts";
import type { LimitSpec } from "./limits.ts";

/** Starts as early as allowed for who asks at these times. */
function startsOf(spec: LimitSpec, asks: readonly number[]): number[] {
  let tat = 0;
  return asks.map((at) => {
    const start = earliestStart(tat, spec, at);
    tat = afterStart(tat, spec, start);
    return start;
  });
}

const specs = fc.record({ intervalMs: fc.integer({ min: 1, max: 5000 }), burst: fc.integer({ min: 1, max: 20 }) });
const asking = fc.array(fc.integer({ min: 0, max: 2000 }), { minLength: 1, maxLength: 200 }).map((gaps) => {
  let now = 1000;
  return gaps.map((gap) => (now += gap));
});

test("in no window, however it lies, are there more starts than its length and the burst allow", () => {
  fc.assert(
    fc.property(specs, asking, (spec, asks) => {
      const starts = startsOf(spec, asks);
      for (const [i, from] of starts.entries())
        for (const [j, to] of starts.entries())
          if (j > i) expect(j - i).toBeLessThanOrEqual((to - from) / spec.intervalMs + spec.burst - 1 + 1e-6);
    }),
  );
});

test("who asks while nothing was started for long enough starts at once, and a backlog uses all of the rate", () => {
  fc.assert(
    fc.property(specs, fc.integer({ min: 1, max: 100 }), (spec, count) => {
      const starts = startsOf(
        spec,
        Array.from({ length: spec.burst + count }, () => 1000),
      );
      expect(starts.slice(0, spec.burst)).toEqual(Array.from({ length: spec.burst }, () => 1000));
      expect(starts.at(-1)).toBeCloseTo(1000 + count * spec.intervalMs, 3);
      const idleUntil = (starts.at(-1) as number) + spec.burst * spec.intervalMs;
      expect(startsOf(spec, [...Array.from({ length: spec.burst + count }, () => 1000), idleUntil]).at(-1)).toBe(idleUntil);
    }),
  );
});

test("a start that is given back is there again, a hold lets nothing start before its end, and a change forgets what the old interval counted", () => {
  const spec = { intervalMs: 100, burst: 3 };
  const tat = afterStart(afterStart(0, spec, 1000), spec, 1000);
  expect(afterRefund(tat, spec)).toBe(afterStart(0, spec, 1000));
  expect(earliestStart(afterHold(tat, spec, 5000), spec, 1000)).toBe(5000);
  expect(earliestStart(afterHold(0, undefined, 5000), { burst: 1 }, 1000)).toBe(5000);
  expect(afterChange(3_600_000, spec, 1000)).toBe(1300);
  expect(afterChange(1100, spec, 1000)).toBe(1100);
});

test("a start that is used late moves the next one only where they are evenly spaced", () => {
  expect(afterLateStart(2000, { intervalMs: 1000, burst: 1 }, 1900)).toBe(2900);
  expect(afterLateStart(5000, { intervalMs: 1000, burst: 1 }, 1900)).toBe(5000);
  expect(afterLateStart(2000, { intervalMs: 1000, burst: 2 }, 1900)).toBe(2000);
});

test("a turn that comes late makes up for it where starts are dense, by so much at most, and for no time in which nobody waited", () => {
  const dense = { intervalMs: 10, burst: 1 };
  expect(countedFrom(dense, 10_000, 9900)).toBe(9900);
  expect(countedFrom(dense, 10_000, 1000)).toBe(10_000 - CATCH_UP_MS);
  expect(countedFrom({ intervalMs: 1000, burst: 1 }, 10_000, 1000)).toBe(10_000);
  expect(countedFrom({ burst: 1 }, 10_000, 1000)).toBe(10_000);
});
