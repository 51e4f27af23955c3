import { expect, test } from "vitest";
import { boundQueues, topicMatches } from "./topic.ts";

test.each([
  ["a.b", "a.b", true],
  ["a.b", "a.c", false],
  ["a.*", "a.b", true],
  ["a.*", "a", false],
  ["a.*", "a.b.c", false],
  ["a.#", "a", true],
  ["a.#", "a.b.c", true],
  ["#", "", true],
  ["#", "a.b", true],
  ["#.c", "a.b.c", true],
  ["#.c", "c", true],
  ["#.#.c", "a.c", true],
  ["a.#.c", "a.c", true],
  ["a.#.c", "a.b.d", false],
  ["*.*", "a", false],
  ["a+", "aa", false],
])("the pattern %s and the key %s: %s", (pattern, key, matches) => {
  expect(topicMatches(pattern, key)).toBe(matches);
});

test("a message reaches each bound queue once, by the type of its binding", () => {
  const bindings = [
    { queue: "all", type: "topic", key: "#" },
    { queue: "all", type: "topic", key: "a.*" },
    { queue: "direct", type: "direct", key: "a.b" },
    { queue: "pattern", type: "direct", key: "a.*" },
    { queue: "fanout", type: "fanout", key: "whatever" },
  ] as const;
  expect(boundQueues(bindings, "a.b")).toEqual(["all", "direct", "fanout"]);
});
