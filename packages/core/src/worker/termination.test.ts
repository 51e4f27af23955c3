import { expect, test } from "vitest";
import { readTermination } from "./termination.ts";

test.each([
  [undefined, { signum: 15, force: "ask" }],
  ["SIGTERM", { signum: 15, force: "ask" }],
  ["term", { signum: 15, force: "ask" }],
  [2, { signum: 2, force: "ask" }],
  ["KILL", { signum: 9, force: "kill" }],
  [9, { signum: 9, force: "kill" }],
  ["SIGUSR1", { signum: 10, force: "soft" }],
])("%j", (signal, expected) => {
  if (process.platform !== "linux" && signal === "SIGUSR1") return; // it has another number there
  expect(readTermination(signal)).toEqual(expected);
});

test.each(["", "SIG", "NOPE", "__proto__", "SIGconstructor", 0, 999, -9, 1.5, null, true, {}])("%j is no signal", (signal) => {
  expect(readTermination(signal)).toBeUndefined();
});
