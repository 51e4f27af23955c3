import { afterAll, expect, test } from "vitest";
import { Worker } from "lovage/worker";

process.env.CELERY_BROKER_URL = "memory://fair-queues-example";
process.env.CELERY_RESULT_BACKEND = "memory://fair-queues-example";
const { app, busiest, importFor, importRow, onAbuse } = await import("../fair-queues.ts");

const order: string[] = [];
app.task("reports.refresh", (tenant: string) => void order.push(`report ${tenant}`));
const worker = new Worker(app, {
  concurrency: 1,
  observers: [{ started: ({ received }) => void order.push(String(received.body().args)) }],
});
afterAll(async () => {
  await worker.stop();
  await app.close();
});

test("a tenant with many rows keeps no other waiting, and one that is paused waits alone", async () => {
  for (let row = 0; row < 50; row += 1) await importRow.delay("big", row);
  const small = await importRow.delay("small", 1);
  await onAbuse("evil");
  await importRow.delay("evil", 1);
  await importFor("small", "big", 99);
  await worker.start();
  expect(await small.get({ timeout: "10s" })).toBe("small 1");
  await expect.poll(() => order.length, { timeout: 20_000 }).toBeGreaterThan(52);
  expect(order.indexOf("small,1")).toBeLessThan(3);
  expect(order).not.toContain("evil,1");
  expect(await busiest()).toContain("evil: 1 waiting, 0 running");
});
