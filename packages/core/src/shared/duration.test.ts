import * as fc from "fast-check";
import { expect, test } from "vitest";
import { delaySeconds, formatDuration, parseDuration } from "./duration.ts";

test.each([
  [5, 5000],
  [0, 0],
  [0.25, 250],
  ["250ms", 250],
  ["90s", 90_000],
  ["15m", 900_000],
  ["2h", 7_200_000],
  ["1d", 86_400_000],
  ["1.5h", 5_400_000],
  [" 3 s ", 3000],
])("%j is %d ms", (written, ms) => {
  expect(parseDuration(written)).toBe(ms);
});

test.each([-1, Number.NaN, Infinity, "", "5", "5 parsecs", "-5s", "1h30m", null, undefined, {}, true, 10n])(
  "%s is no duration",
  (value) => {
    expect(parseDuration(value)).toBeUndefined();
  },
);

test("a formatted duration means the same", () => {
  fc.assert(
    fc.property(fc.nat({ max: 10_000_000_000 }), (ms) => {
      expect(parseDuration(formatDuration(ms))).toBeCloseTo(ms, 3);
    }),
  );
});

test("a delay is written in seconds, to the millisecond where that matters", () => {
  expect([50, 0, 999.6, 1234.5, 9999, 61_400].map(delaySeconds)).toEqual([0.05, 0, 1, 1.235, 9.999, 61]);
});
