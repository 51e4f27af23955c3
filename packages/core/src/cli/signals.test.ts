import { expect, test } from "vitest";
import { FakeClock } from "../testing/fake-clock.ts";
import { stopDecider } from "./signals.ts";

test("the second signal is a cold stop, unless it is the first one twice", async () => {
  const clock = new FakeClock();
  const decide = stopDecider(clock);
  expect(decide("SIGINT")).toBe("warm");
  await clock.advance(499);
  expect(decide("SIGTERM")).toBeUndefined();
  await clock.advance(1);
  expect(decide("SIGINT")).toBe("cold");
  expect(stopDecider(clock)("SIGQUIT")).toBe("cold");
});
