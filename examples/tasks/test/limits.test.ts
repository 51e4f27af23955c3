import { afterAll, beforeAll, expect, test } from "vitest";
import { Worker } from "lovage/worker";

process.env.CELERY_BROKER_URL = "memory://limits-example";
process.env.CELERY_RESULT_BACKEND = "memory://limits-example";
const { app, rebuild, send, slowDown, sync, track } = await import("../limits.ts");

const worker = new Worker(app, { queues: ["celery", "reports"] });
beforeAll(() => worker.start());
afterAll(async () => {
  await worker.stop();
  await app.close();
});

test("starts are spaced, whatever was sent at once", async () => {
  const since = performance.now();
  const sent = await send.map(["ada", "grace", "edsger", "alan", "barbara"].map((address) => [address] as const));
  for (const each of sent) await each.get({ timeout: "10s" });
  expect(performance.now() - since).toBeGreaterThan(150); // four pauses of 50 ms, and the clock is another's
});

test("keys do not hold each other up, and a queue has a limit of its own", async () => {
  const tracked = await track.map([
    ["ada", "opened"],
    ["ada", "clicked"],
    ["grace", "opened"],
  ]);
  expect(await Promise.all(tracked.map((each) => each.get({ timeout: "10s" })))).toEqual([
    "opened of ada",
    "clicked of ada",
    "opened of grace",
  ]);
  expect(await (await rebuild.delay("May")).get({ timeout: "10s" })).toBe("May");
});

test("a task that is refused comes back, and limits are changed while it runs", async () => {
  expect(await (await sync.delay("acme")).get({ timeout: "10s" })).toBe("synced acme");
  await slowDown();
  const reports = await app.limits.list();
  expect(reports.find(({ name, key }) => name === "crm" && key === "acme")).toMatchObject({ ratePerSecond: 1, isSet: true });
  expect(reports.find(({ name }) => name === "task:mailing.send")).toMatchObject({ ratePerSecond: 20, isSet: false });
});
