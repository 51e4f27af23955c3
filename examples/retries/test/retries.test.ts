import { afterAll, beforeAll, expect, test } from "vitest";
import { Worker } from "lovage/worker";

process.env.CELERY_BROKER_URL = "memory://retries-example";
process.env.CELERY_RESULT_BACKEND = "memory://retries-example";
const { app, charge, collect, sync } = await import("../tasks.ts");

const worker = new Worker(app, { concurrency: 10 });
beforeAll(() => worker.start());
afterAll(async () => {
  await worker.stop();
  await app.close();
});

test("what may pass is tried again, what will not fails at once", async () => {
  expect(await (await charge.delay("A-1")).get({ timeout: "10s" })).toBe("charged A-1 at attempt 3");
  await expect((await charge.delay("unknown")).get({ timeout: "10s" })).rejects.toThrow(/there is no order/);
});

test("a function decides when, and when it is over", async () => {
  await expect((await sync.delay()).get({ timeout: "10s" })).rejects.toThrow("attempt 4 failed");
});

test("a snooze is no retry", async () => {
  expect(await (await collect.delay("May")).get({ timeout: "10s" })).toBe("May, seen at look 3, after 0 retries");
});
