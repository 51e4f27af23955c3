import { expect, test } from "vitest";

import { parseRate } from "./rate.ts";

test.each([
  [4, 4],
  ["4", 4],
  ["4/s", 4],
  ["90/m", 1.5],
  ["1800/h", 0.5],
  ["0.5/s", 0.5],
  [0, 0],
  ["0", 0],
])("%j is %d a second", (text, perSecond) => {
  expect(parseRate(text)).toBe(perSecond);
});

test.each(["", "fast", "4/d", "-1", "1 /s", -1, Number.NaN, Number.POSITIVE_INFINITY, null, true])("%j is no rate", (value) => {
  expect(parseRate(value)).toBeUndefined();
});
