import { afterAll, beforeAll, expect, test } from "vitest";
import { Worker } from "lovage/worker";

process.env.CELERY_BROKER_URL = "memory://tasks-example";
process.env.CELERY_RESULT_BACKEND = "memory://tasks-example";
const { app, audited, charge } = await import("../tasks.ts");
const { everyWay } = await import("../calls.ts");

const worker = new Worker(app, { queues: ["celery", "images"], concurrency: 10 });
beforeAll(() => worker.start());
afterAll(async () => {
  await worker.stop();
  await app.close();
});

test("every way to call a task gives its result", async () => {
  expect(await everyWay()).toEqual([5, "cat.png@640", "Welcome, Ada!", 2, 4, 6, { id: "A-1", total: 1200 }, 8, "SUCCESS"]);
});

test("a busy service is tried again, an unknown order is put with the dead letters", async () => {
  expect(await (await charge.delay("A-1")).get({ timeout: "10s" })).toBe("paid A-1");
  const refused = await charge.delay("none");
  await expect(refused.get({ timeout: "10s" })).rejects.toThrow(/unknown order/);
  const dead = await (await app.broker()).deadLetters?.page("celery", { limit: 10 });
  expect(dead?.entries.map(({ id, reason }) => [id, reason])).toEqual([[refused.id, "rejected"]]);
});

test("an argument of the wrong shape is refused", async () => {
  const wrong = await app.sendTask("shop.order", [{ id: "A-2", cents: -1 }]);
  await expect(wrong.get({ timeout: "10s" })).rejects.toThrow(/cents/);
});

test("hooks run where the task runs", async () => {
  expect(await (await audited.delay(2)).get({ timeout: "10s" })).toBe(4);
});
