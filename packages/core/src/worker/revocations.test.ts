/** Revoked and terminated tasks, from end to end. */
import { expect, test } from "vitest";

import { document, room } from "../../test/support/worker-room.ts";
import type { Lovage } from "../app/app.ts";
import { sleep } from "../shared/clock.ts";
import type { Worker } from "./worker.ts";

/** A task that ends when its signal aborts, and one that never heeds it. */
function tasksForRevoking(app: Lovage) {
  return {
    heeds: app.task({
      name: "shop.heeds",
      run: (ctx) => new Promise((_, reject) => ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason as Error))),
    }),
    ignores: app.task("shop.ignores", () => new Promise<void>(() => undefined)),
    slow: app.task("shop.slow", async (ms: number) => void (await sleep(app.clock, ms))),
  };
}

test("a revoked task does not start, whatever it waits for; one that runs has its signal aborted", async () => {
  const { app, clock, start, stop } = room();
  const { heeds, slow } = tasksForRevoking(app);
  const running = await start({ concurrency: 2 });
  const runs = await heeds.delay();
  const goesOn = await slow.delay(5000);
  const queued = await heeds.delay(); // every slot is busy
  const later = await heeds.applyAsync([], null, { countdown: 5 });
  const far = await heeds.applyAsync([], null, { countdown: 60 });
  await clock.advance(100);
  for (const { id } of [runs, goesOn, queued, later, far]) running.revoke(id);
  await clock.advance(100);
  for (const { id } of [runs, queued, later])
    expect(await document(app, id)).toMatchObject({ status: "REVOKED", result: { exc_message: ["revoked"] } });
  expect(running.status()).toMatchObject({ running: 1, waiting: 0, scheduled: 0 });
  await clock.advance(70_000);
  expect(await document(app, goesOn.id)).toMatchObject({ status: "SUCCESS" }); // it did not mind its signal, and was not made to
  expect(await document(app, far.id)).toMatchObject({ status: "REVOKED" }); // parked meanwhile
  expect(running.status()).toMatchObject({ running: 0, onLoan: 0 });
  await stop(running);
});

test("a task that is terminated has a moment to heed its signal; then its slot is free, whatever it does", async () => {
  const { app, clock, start, stop } = room();
  const { heeds, ignores } = tasksForRevoking(app);
  const running = await start({ concurrency: 2 });
  const [polite, stubborn, next] = [await heeds.delay(), await ignores.delay(), await ignores.delay()];
  await clock.advance(100);
  for (const { id } of [polite, stubborn]) running.revoke(id, { terminate: true });
  await clock.advance(10);
  expect(await document(app, polite.id)).toMatchObject({ status: "REVOKED", result: { exc_message: ["terminated"] } });
  expect(running.status().running).toBe(2); // the stubborn one, and the one that had waited
  await clock.advance(2000);
  expect(await document(app, stubborn.id)).toMatchObject({ status: "REVOKED", result: { exc_message: ["terminated"] } });
  expect(running.status().running).toBe(1);
  running.revoke(next.id, { terminate: true });
  await clock.advance(2000);
  await stop(running);
});

test("a task that was revoked while no worker was there does not run, and its result says so at once", async () => {
  const { app, clock, start, stop } = room();
  const { heeds } = tasksForRevoking(app);
  const [one, other] = [await heeds.delay(), await heeds.delay()];
  await app.revoke([one.id]);
  await expect(one.get()).rejects.toMatchObject({ name: "TaskRevokedError" });
  const running = await start();
  await clock.advance(100);
  expect(running.status()).toMatchObject({ running: 1 });
  running.revoke(other.id);
  await clock.advance(100);
  expect(running.status()).toMatchObject({ running: 0, processed: 1 });
  await stop(running);
  const successor = await start(); // knows it from the broker
  await heeds.applyAsync([], null, { taskId: one.id });
  await clock.advance(100);
  expect(successor.status()).toMatchObject({ running: 0, processed: 0, onLoan: 0 });
  await stop(successor);
});

test.each<[string, (app: Lovage, worker: Worker) => unknown]>([
  ["revoked", (_, worker) => worker.revoke("t1")],
  ["terminated", (app) => app.revoke(["t1"], { terminate: true, signal: "SIGKILL" })],
])("a task that is %s while its early ack is on the way does not run, and has an end that is told", async (how, revoke) => {
  const { app, clock, broker, start, stop } = room();
  let ran = 0;
  const early = app.task("shop.early", { acksLate: false }, () => void (ran += 1));
  const running = await start();
  const memory = await broker();
  const settle = memory.settle.bind(memory);
  memory.settle = async (...words) => {
    await revoke(app, running);
    return await settle(...words);
  };
  await early.applyAsync([], null, { taskId: "t1" });
  await clock.advance(100);
  expect(ran).toBe(0);
  expect(await document(app, "t1")).toMatchObject({ status: "REVOKED", result: { exc_message: [how] } });
  expect(running.status()).toMatchObject({ running: 0, onLoan: 0 });
  await stop(running);
});

test("a revoked task that asks for a retry is not run again", async () => {
  const { app, clock, start, stop } = room();
  let runs = 0;
  const stubborn = app.task({
    name: "shop.stubborn",
    async run(ctx) {
      runs += 1;
      await sleep(app.clock, 1000);
      ctx.retry({ countdown: 1 });
    },
  });
  const running = await start();
  const sent = await stubborn.delay();
  await clock.advance(500);
  await app.revoke([sent.id]);
  await clock.advance(10_000);
  expect(runs).toBe(1);
  expect(await document(app, sent.id)).toMatchObject({ status: "REVOKED" });
  await stop(running);
});

test("a worker that has room for few revoked tasks asks the broker for the others", async () => {
  const { app, clock, start, stop } = room({ workerRevokesMax: 3 });
  const { slow } = tasksForRevoking(app);
  const sent = await Promise.all(Array.from({ length: 8 }, () => slow.delay(1)));
  await app.revoke(sent.slice(0, 7).map(({ id }) => id));
  const running = await start();
  await clock.advance(1000);
  const states = await Promise.all(sent.map(async ({ id }) => ((await document(app, id)) as { status: string }).status));
  expect(states).toEqual([...Array.from({ length: 7 }, () => "REVOKED"), "SUCCESS"]);
  expect(running.status()).toMatchObject({ processed: 1, onLoan: 0 });
  await stop(running);
});
