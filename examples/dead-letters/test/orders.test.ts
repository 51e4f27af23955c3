import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Worker } from "lovage/worker";

process.env.CELERY_BROKER_URL = "memory://dead-letters-example";
process.env.CELERY_RESULT_BACKEND = "memory://dead-letters-example";
const { app, charge, handled } = await import("../orders.ts");
const { replaySince } = await import("../replay.ts");

const worker = new Worker(app, { queues: ["celery", "dead_letter"], concurrency: 2 });
beforeAll(() => worker.start());
afterAll(async () => {
  await worker.stop();
  await app.close();
});

test("after the last retry the order is kept, the handler is told, and it can be run again", async () => {
  const startedAt = Date.now() - 1000;
  const sent = await charge.delay("A-1");
  await expect(sent.get({ timeout: "20s" })).rejects.toThrow(/the bank does not answer/);
  await vi.waitFor(() => expect(handled).toEqual([`A-1, task ${sent.id}: Error: the bank does not answer for A-1`]), 10_000);
  const letters = (await app.broker()).deadLetters;
  expect(await letters?.get("celery", sent.id)).toMatchObject({ reason: "retriesExhausted", retries: 3, task: "orders.charge" });
  expect(await replaySince(startedAt)).toBe(1);
  await vi.waitFor(() => expect(handled).toHaveLength(2), 10_000);
  expect(handled[1]).toBe(handled[0]); // the same task, from its first attempt on
});
