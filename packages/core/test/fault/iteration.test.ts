/** A task that is longer than its workers live: deploys interrupt it between two steps, a kill repeats what its last checkpoint does not know. */
import { setTimeout as wait } from "node:timers/promises";
import { expect, test } from "vitest";
import { LongWorkers } from "../support/long-workers.ts";
import { eventually } from "../support/eventually.ts";
import { RedisServer } from "../support/redis-server.ts";
import { temporaryDatabase } from "../support/sqlite.ts";

const isSoak = process.env.LOVAGE_SOAK === "1";
const STEP_MS = 100;
const plan = isSoak
  ? { steps: 1200, restarts: 10, everyMs: 11_000, withinMs: 150_000 }
  : { steps: 30, restarts: 2, everyMs: 600, withinMs: 60_000 };

test(
  `${plan.steps} steps of ${STEP_MS} ms through ${plan.restarts} rolling restarts: each once, and none twice`,
  { timeout: plan.withinMs * 2 + 60_000 },
  async () => {
    await using redis = await RedisServer.start();
    await using workers = new LongWorkers(redis.url);
    let old = await workers.start();
    const begun = performance.now();
    const result = await workers.client.sendTask<{ steps: number; retries: number }>("steps", [plan.steps, STEP_MS]);
    for (let restart = 0; restart < plan.restarts; restart++) {
      await wait(plan.everyMs); // the task is at work meanwhile
      const next = await workers.start();
      await workers.end(old, "SIGTERM");
      old = next;
    }
    expect(await result.get({ timeout: plan.withinMs / 1000 })).toMatchObject({ steps: plan.steps, retries: 0 });
    const tookMs = performance.now() - begun;
    // oxlint-disable-next-line no-console -- figures for whoever reads the run
    console.log(
      `${plan.steps} steps, ${plan.restarts} restarts: ${(tookMs / 1000).toFixed(1)} s, ${((plan.steps * STEP_MS) / 1000).toFixed(0)} s of them steps`,
    );
    expect(workers.noted("step")).toEqual(Array.from({ length: plan.steps }, (_, i) => i));
    expect(tookMs).toBeLessThan(plan.withinMs);
  },
);

test("a worker that is killed repeats no more than what was done since the last checkpoint", { timeout: 120_000 }, async () => {
  const STEPS = 36;
  await using redis = await RedisServer.start();
  await using workers = new LongWorkers(redis.url, { leaseTime: 1 });
  const first = await workers.start();
  const result = await workers.client.sendTask<{ steps: number }>("steps", [STEPS, STEP_MS]);
  await eventually("two checkpoints", () => (workers.noted("step").length >= 18 ? true : undefined), 60_000);
  await workers.end(first, "SIGKILL");
  const known = workers.noted("step").length;
  await workers.start();
  expect(await result.get({ timeout: 60 })).toMatchObject({ steps: STEPS });
  const steps = workers.noted("step");
  expect([...new Set(steps)].toSorted((a, b) => a - b)).toEqual(Array.from({ length: STEPS }, (_, i) => i));
  const wentOnFrom = steps[known] as number;
  expect(wentOnFrom).toBeGreaterThan(5); // the cursor of a checkpoint, not the start
  expect(steps.length - STEPS).toBeLessThanOrEqual(20); // a checkpoint a second, and a step on the way
});

test.each(["threads", "processes"] as const)(
  "in %s: interrupted between two steps, and on from there",
  { timeout: 120_000 },
  async (pool) => {
    await using database = await temporaryDatabase();
    await using workers = new LongWorkers(`sqlite://${database.path}`, { workerPool: pool, workerConcurrency: 1 });
    const first = await workers.start();
    const result = await workers.client.sendTask<{ steps: number; retries: number }>("steps", [16, STEP_MS]);
    await eventually("some steps", () => (workers.noted("step").length >= 3 ? true : undefined), 60_000);
    await workers.end(first, "SIGTERM");
    const done = workers.noted("step").length;
    expect(done).toBeLessThan(16);
    expect(await result.info()).toMatchObject({ state: "PROGRESS", result: { current: done, total: 16 } });
    await workers.start();
    expect(await result.get({ timeout: 60 })).toMatchObject({ steps: 16, retries: 0 });
    expect(workers.noted("step")).toEqual(Array.from({ length: 16 }, (_, i) => i));
  },
);
