/** A worker that is quiet for a while. */
import { expect, test } from "vitest";

import { room } from "../../test/support/worker-room.ts";
import { Worker } from "./worker.ts";

test("a quiet worker takes nothing and gives back what waits, what runs goes on; resumed, it takes again", async () => {
  const { app, clock, broker, start, stop } = room({ workerPrefetchMultiplier: 3 });
  const ran: string[] = [];
  const slow = app.task("shop.slow", async (name: string) => {
    await new Promise<void>((resolve) => void clock.timer(1000, resolve));
    ran.push(name);
  });
  await slow.applyAsync(["later"], null, { countdown: 9 });
  for (const name of ["a", "b", "c"]) await slow.delay(name);
  const running = await start({ concurrency: 1 });
  await clock.advance(100);
  expect(running.status()).toMatchObject({ running: 1, waiting: 2, scheduled: 1 });
  const quiet = running.quiet();
  await clock.advance(0);
  await quiet;
  const memory = await broker();
  expect(running.status()).toMatchObject({ state: "quiet", consuming: false, running: 1, waiting: 0, scheduled: 0 });
  expect(await memory.depth(["celery"])).toMatchObject([{ ready: 3, onLoan: 1 }]);
  await slow.delay("d");
  await clock.advance(60_000);
  expect(ran).toEqual(["a"]);
  expect(running.status()).toMatchObject({ state: "quiet", running: 0, onLoan: 0 });
  expect(await memory.leases.list()).toHaveLength(1); // it lives
  const resumed = running.resume();
  await clock.advance(0);
  await resumed;
  expect(running.status()).toMatchObject({ state: "running", consuming: true });
  await clock.advance(10_000);
  expect(ran.toSorted()).toEqual(["a", "b", "c", "d", "later"]);
  await stop(running);
  expect(clock.pendingTimers).toBe(0);
});

test("a worker can start quiet, be made quiet again and again, and stop while it is", async () => {
  const { app, clock, broker, start } = room();
  let ran = 0;
  const count = app.task("shop.count", () => void ran++);
  await count.delay();
  const running = await start({ quiet: true });
  expect(running.status()).toMatchObject({ state: "quiet", consuming: false });
  for (let round = 0; round < 3; round++) {
    void running.resume();
    void running.quiet();
  }
  await clock.advance(1000);
  expect(running.status().state).toBe("quiet");
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ ready: 1 - ran, onLoan: 0 }]);
  const stopped = running.stop();
  await clock.advance(0);
  await stopped;
  await running.quiet();
  await running.resume(); // nothing to resume
  expect(running.status().state).toBe("stopped");
  expect(clock.pendingTimers).toBe(0);
});

test("a worker that begins quietly and is resumed before it is ready takes tasks", async () => {
  const { app, clock, broker } = room();
  let ran = 0;
  const count = app.task("shop.count", () => void ran++);
  await count.delay();
  const { leases } = await broker();
  const renew = leases.renew.bind(leases);
  let answer = (): void => {};
  const answered = new Promise<void>((resolve) => (answer = resolve));
  leases.renew = (...words) => answered.then(() => renew(...words));
  const worker = new Worker(app, { name: "w@test", quiet: true });
  const starting = worker.start();
  await clock.advance(100); // it waits for its lease
  const resumed = worker.resume();
  answer();
  await clock.advance(100);
  await Promise.all([starting, resumed]);
  await clock.advance(1000);
  expect(ran).toBe(1);
  expect(worker.status()).toMatchObject({ state: "running", consuming: true });
  const stopped = worker.stop();
  await clock.advance(1000);
  await stopped;
});
