import { expect, test } from "vitest";

import { priorityStep, topicRegex } from "./routing.ts";

test("priorities go to the largest step that is not above them, cut to 0..9", () => {
  const steps = [0, 3, 6, 9];
  expect([-1, 0, 2, 3, 5, 6, 8, 9, 10, 255, 1.5, Number.NaN].map((priority) => priorityStep(steps, priority))).toEqual([
    0, 0, 0, 3, 3, 6, 6, 9, 9, 9, 0, 0,
  ]);
  expect(priorityStep([2, 5], 0)).toBe(2);
});

test("topic patterns are written as kombu writes them", () => {
  expect(topicRegex("a.*")).toBe(String.raw`^a\..*?[^\.]$`);
  expect(topicRegex("#")).toBe("^.*?$");
  expect(topicRegex("task-x.#")).toBe(String.raw`^task\-x\..*?$`);
  expect(topicRegex(" a_b+é.c")).toBe(String.raw`^\ a\_b\+é\.c$`);
});

test("as in kombu, * also matches several words", () => {
  const reaches = (pattern: string, key: string): boolean => new RegExp(topicRegex(pattern)).test(key);
  expect(reaches("a.*", "a.b")).toBe(true);
  expect(reaches("a.*", "a.b.c")).toBe(true);
  expect(reaches("a.*", "a")).toBe(false);
  expect(reaches("*.error", "app.error")).toBe(true);
  expect(reaches("a.b", "axb")).toBe(false);
});
