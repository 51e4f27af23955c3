import { expect, test } from "vitest";
import { sleep } from "../shared/clock.ts";
import { FakeClock } from "./fake-clock.ts";

test("timers fire at their own times, in order, also those that earlier ones set", async () => {
  const clock = new FakeClock(1000);
  const fired: string[] = [];
  const note = (name: string): void => void fired.push(`${name}@${clock.now()}`);
  clock.timer(20, () => note("b"));
  clock.timer(10, () => {
    note("a");
    clock.timer(5, () => note("nested"));
  });
  clock.timer(20, () => note("c"));
  clock.timer(21, () => note("late"));
  await clock.advance(20);
  expect(fired).toEqual(["a@1010", "nested@1015", "b@1020", "c@1020"]);
  expect(clock.pendingTimers).toBe(1);
});

test("what awaits a timer runs before the next one fires", async () => {
  const clock = new FakeClock();
  const log: string[] = [];
  const worker = async (): Promise<void> => {
    await sleep(clock, 10);
    log.push("woke");
    await sleep(clock, 10);
    log.push("woke again");
  };
  const done = worker();
  clock.timer(15, () => void log.push("between"));
  await clock.advance(30);
  await done;
  expect(log).toEqual(["woke", "between", "woke again"]);
});

test("a cancelled timer does not fire, and a jump of the wall clock is no passing of time", async () => {
  const clock = new FakeClock(0);
  let count = 0;
  clock.timer(10, () => count++).cancel();
  clock.timer(10, () => count++);
  clock.jump(1_000_000);
  await clock.advance(9);
  expect(count).toBe(0);
  await clock.advance(1);
  expect(count).toBe(1);
  expect(clock.now()).toBe(1_000_010);
  expect(clock.monotonic()).toBe(10);
});
