import { expect, test } from "vitest";
import { chooseQueues } from "./choose-queues.ts";

test("-Q replaces the app's queues, -X takes away, and a typo in -X is no silence", () => {
  expect(chooseQueues(["a", "b"], undefined, undefined)).toEqual(["a", "b"]);
  expect(chooseQueues(["a", "b"], undefined, ["b"])).toEqual(["a"]);
  expect(chooseQueues(["a"], ["x", "y", "x"], ["y"])).toEqual(["x"]);
  expect(() => chooseQueues(["mails", "b"], undefined, ["mail"])).toThrow('Did you mean "mails"?');
  expect(() => chooseQueues(["a"], undefined, ["a"])).toThrow("no queue is left");
});
