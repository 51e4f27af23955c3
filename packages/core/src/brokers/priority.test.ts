import { expect, test } from "vitest";
import { priorityStep } from "./priority.ts";

test.each([
  [-1, 0],
  [0, 0],
  [2, 0],
  [3, 3],
  [5, 3],
  [6, 6],
  [8, 6],
  [9, 9],
  [10, 9],
  [255, 9],
  [4.5, 0],
  [Number.NaN, 0],
])("priority %s goes to step %s", (priority, step) => {
  expect(priorityStep(priority)).toBe(step);
});
