import { expect, test } from "vitest";
import { didYouMean, nearestName } from "./suggest.ts";

const known = ["taskTimeLimit", "taskSoftTimeLimit", "brokerUrl", "resultBackend"];

test.each([
  ["taskTimelimit", "taskTimeLimit"],
  ["task_time_limit", "taskTimeLimit"],
  ["brokerUlr", "brokerUrl"],
  ["brokerURI", "brokerUrl"],
  ["result_bakend", "resultBackend"],
])("%s means %s", (written, meant) => {
  expect(nearestName(written, known)).toBe(meant);
});

test("a name that resembles none has no suggestion", () => {
  expect(nearestName("flowerPassword", known)).toBeUndefined();
  expect(didYouMean("x", known)).toBe("");
});

test("the suggestion ends a sentence", () => {
  expect(didYouMean("brokerUlr", known)).toBe(' Did you mean "brokerUrl"?');
});
