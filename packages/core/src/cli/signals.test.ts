import { expect, test } from "vitest";
import { FakeClock } from "../testing/fake-clock.ts";
import { UsageError } from "./errors.ts";
import { readRemap, signalDecider } from "./signals.ts";

test("TERM and INT ask for a warm stop, QUIT for a soft one, and one signal that arrives twice is one", async () => {
  const clock = new FakeClock();
  const decide = signalDecider(clock, "SIGTERM");
  expect(decide("SIGINT")).toBe("warm");
  await clock.advance(499);
  expect(decide("SIGTERM")).toBeUndefined();
  expect(decide("SIGQUIT")).toBe("soft"); // asks for more than the one before
  await clock.advance(499);
  expect(decide("SIGQUIT")).toBeUndefined();
  expect(decide("SIGTERM")).toBeUndefined();
  await clock.advance(1);
  expect(decide("SIGTERM")).toBe("warm");
});

test("TSTP makes quiet and CONT resumes, however often they come, until a stop", () => {
  const decide = signalDecider(new FakeClock(), "SIGTERM");
  const asks = (["SIGTSTP", "SIGTSTP", "SIGCONT", "SIGTERM", "SIGCONT", "SIGTSTP"] as const).map(decide);
  expect(asks).toEqual(["quiet", "quiet", "resume", "warm", undefined, undefined]);
});

test("with REMAP_SIGTERM=SIGQUIT a TERM is a QUIT, as in Celery", () => {
  expect(readRemap({})).toBe("SIGTERM");
  expect(readRemap({ REMAP_SIGTERM: "" })).toBe("SIGTERM");
  expect(signalDecider(new FakeClock(), readRemap({ REMAP_SIGTERM: "SIGQUIT" }))("SIGTERM")).toBe("soft");
  expect(() => readRemap({ REMAP_SIGTERM: "SIGUSR1" })).toThrow(UsageError);
});
