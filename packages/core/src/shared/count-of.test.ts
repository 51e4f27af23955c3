import { expect, test } from "vitest";
import { countOf } from "./count-of.ts";

test("one is one, and none are many", () => {
  expect([0, 1, 2].map((count) => countOf(count, "message"))).toEqual(["0 messages", "1 message", "2 messages"]);
  expect(countOf(2, "reply", "replies")).toBe("2 replies");
});
