import { afterAll, beforeAll, expect, test } from "vitest";

process.env.CELERY_BROKER_URL = "memory://pools-example";
process.env.CELERY_RESULT_BACKEND = "memory://pools-example";
const { app, greet, primesBelow, primesWithin } = await import("../pools.ts");
const { worker } = await import("../pools-worker.ts");

beforeAll(() => worker.start());
afterAll(async () => {
  await worker.stop();
  await app.close();
});

test("each task runs in the pool that it asks for", async () => {
  expect(await (await greet.delay("Ada")).get({ timeout: "10s" })).toBe("Hello, Ada");
  expect(await (await primesBelow.delay(100)).get({ timeout: "10s" })).toBe(25);
});

test("a soft limit leaves time to return what there is", async () => {
  const found = await (await primesWithin.delay(10)).get({ timeout: "10s" });
  expect(found.slice(0, 3)).toEqual([11, 13, 17]);
});
