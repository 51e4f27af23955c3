import { expect, test } from "vitest";

import { FakeClock } from "../../testing/fake-clock.ts";
import { Ramp } from "./ramp.ts";

test("5,000 that have gathered arrive over more than a second, each 200 ms about twice the last", async () => {
  const clock = new FakeClock();
  const ramp = new Ramp(clock, () => 0);
  const perStep: number[] = [];
  await Promise.all(
    Array.from({ length: 5000 }, async () => {
      await ramp.pass(1);
      const step = Math.floor(clock.monotonic() / 200);
      perStep[step] = (perStep[step] ?? 0) + 1;
    }).concat(clock.advance(3000)),
  );
  expect(perStep.reduce((sum, count) => sum + count)).toBe(5000);
  expect(perStep[0]).toBeLessThanOrEqual(64);
  expect(perStep.length).toBeGreaterThanOrEqual(7);
  expect(Math.max(...perStep)).toBeLessThan(2600);
});

test("who has little to send does not wait", () => {
  const ramp = new Ramp(new FakeClock(), () => 0.5);
  for (let i = 0; i < 32; i += 1) expect(ramp.delay(1)).toBe(0);
});

test("any number passes within three seconds, and nobody waits after that", async () => {
  const clock = new FakeClock();
  const ramp = new Ramp(clock, () => 0.999);
  expect(ramp.delay(1_000_000)).toBe(0); // the first
  expect(ramp.delay(1)).toBeLessThanOrEqual(3000);
  expect(ramp.isOver).toBe(false);
  await clock.advance(3000);
  expect(ramp.isOver).toBe(true);
  expect(ramp.delay(1)).toBe(0);
});
