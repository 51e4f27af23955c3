import { expect, test } from "vitest";
import { FakeClock } from "../../testing/fake-clock.ts";
import type { WorkerStatus } from "../worker-options.ts";
import { CapsuleVitals } from "./capsule-vitals.ts";
import { Sampler, type VitalSigns } from "./sampler.ts";
import { TURN_MS, Vitals } from "./vitals.ts";

const STATUS: WorkerStatus = {
  state: "running",
  consuming: true,
  slots: 4,
  running: 1,
  waiting: 0,
  scheduled: 0,
  onLoan: 1,
  processed: 9,
  paused: [],
  capsules: [],
};

function sampling(clock: FakeClock) {
  const signs = { status: STATUS, prefetch: 8, answeredAt: 0, connects: 1 } as { -readonly [Key in keyof VitalSigns]: VitalSigns[Key] };
  const vitals = new Vitals();
  const seen = new Vitals(vitals.memory); // as the guard thread sees it
  return { signs, seen, sampler: new Sampler(vitals, new CapsuleVitals([]), clock, () => signs) };
}

test("silence is the time in which the loop turned and no answer was seen", async () => {
  const clock = new FakeClock();
  const { signs, seen, sampler } = sampling(clock);
  sampler.start();
  await clock.advance(4000);
  expect(seen.get("silentMs")).toBe(4000);
  expect(seen.get("turnedAt")).toBe(clock.monotonic());
  signs.answeredAt = clock.monotonic();
  await clock.advance(TURN_MS);
  expect(seen.get("silentMs")).toBe(0);
  signs.status = { ...STATUS, state: "quiet" };
  await clock.advance(60_000);
  expect(seen.get("silentMs")).toBe(0); // nothing is to be heard
  expect(seen.state).toBe("quiet");
  sampler.stop();
  expect(clock.pendingTimers).toBe(0);
});

test("a loop that stood still is not a silent broker", () => {
  let now = 0;
  const clock = Object.assign(new FakeClock(), { monotonic: () => now });
  const { seen, sampler } = sampling(clock);
  sampler.sample();
  now = 60_000; // no sample was taken meanwhile
  sampler.sample();
  expect(seen.get("silentMs")).toBe(2 * TURN_MS);
});

test("the lag of the loop's timers is a histogram", () => {
  const vitals = new Vitals();
  for (const seconds of [0, 0.004, 0.2, 99]) vitals.noteLag(seconds);
  const { counts, sum } = new Vitals(vitals.memory).lag;
  expect(counts[0]).toBe(2);
  expect(counts.at(-1)).toBe(1);
  expect(counts.reduce((a, b) => a + b)).toBe(4);
  expect(sum).toBeCloseTo(99.204);
});
