import { afterAll, beforeAll, expect, test } from "vitest";
import { Worker } from "lovage/worker";

process.env.CELERY_BROKER_URL = "memory://control-example";
process.env.CELERY_RESULT_BACKEND = "memory://control-example";
const { app, cancelTenant, cancelTranscoding, outcomeOf, transcode, transcodeFor, workersOnline } = await import("../control.ts");

const worker = new Worker(app, { name: "media@test", concurrency: 10 });
beforeAll(() => worker.start());
afterAll(async () => {
  await worker.stop();
  await app.close();
});

test("a task that runs, and one that waits for its time, are cancelled", async () => {
  const runs = await transcode.delay("cat.mp4");
  const waits = await transcode.applyAsync(["dog.mp4"], null, { countdown: "1h" });
  await expect.poll(() => worker.status().running).toBe(1);
  await cancelTranscoding(runs.id);
  await cancelTranscoding(waits.id);
  expect(await outcomeOf(runs.id)).toBe("cancelled");
  expect(await outcomeOf(waits.id)).toBe("cancelled");
  await expect.poll(() => worker.status().running).toBe(0);
});

test("all of a tenant is cancelled, what it sends later too", async () => {
  const runs = await transcodeFor("acme", "cat.mp4");
  await expect.poll(() => worker.status().running).toBe(1);
  await cancelTenant("acme");
  const late = await transcodeFor("acme", "dog.mp4");
  expect(await outcomeOf(runs.id)).toBe("cancelled");
  expect(await outcomeOf(late.id)).toBe("cancelled");
});

test("workers answer", async () => {
  expect(await workersOnline()).toEqual(["media@test"]);
});
