import { afterAll, beforeAll, expect, test } from "vitest";
import { Worker } from "lovage/worker";

process.env.CELERY_BROKER_URL = "memory://task-batches-example";
process.env.CELERY_RESULT_BACKEND = "memory://task-batches-example";
const { app } = await import("../tasks.ts");
const { crawlAll, importFile, importRow, look, month, repair } = await import("../task-batches.ts");

const worker = new Worker(app, { concurrency: 10 });
beforeAll(() => worker.start());
afterAll(async () => {
  await worker.stop();
  await app.close();
});

test("a batch is filled, added to, nested, looked at and repaired", { timeout: 60_000 }, async () => {
  expect(await importFile("may.csv")).toMatchObject({ description: "may.csv", total: 3, succeeded: 3 });
  expect(await crawlAll("https://example.com")).toMatchObject({ total: 7, succeeded: 7 });
  expect(await month(["1.csv", "2.csv"])).toMatchObject({ total: 2, succeeded: 2 });
  const open = await app.batch();
  await open.add([importRow.s("x")]);
  await open.result(0).get({ timeout: "10s" });
  await repair(open.id);
  await look(open.id);
  expect(await open.info()).toMatchObject({ state: "cancelled", succeeded: 1 });
});
