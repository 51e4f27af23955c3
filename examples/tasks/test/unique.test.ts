import { afterAll, expect, test } from "vitest";
import { Worker } from "lovage/worker";

process.env.CELERY_BROKER_URL = "memory://unique-example";
process.env.CELERY_RESULT_BACKEND = "memory://unique-example";
const { app, charge, clickTwice, reindex, remind, sync } = await import("../unique.ts");

const worker = new Worker(app);
afterAll(async () => {
  await worker.stop();
  await app.close();
});

test("a second click is the first one, and the charge is free for the next when it has ended", async () => {
  expect(await clickTwice()).toBe(true);
  const third = await charge.delay("order-7", "mail");
  const [slow, soon, late] = [await sync.delay("acme", "a"), await sync.delay("acme", "b"), await sync.delay("acme", "c")];
  await worker.start();
  expect(await third.get({ timeout: "10s" })).toBe("order-7 charged from web");
  expect(await (await charge.delay("order-7", "phone")).get({ timeout: "10s" })).toBe("order-7 charged from phone");

  expect([soon.isDuplicate, late.isDuplicate, late.id === soon.id]).toEqual([false, true, true]);
  expect([await slow.get({ timeout: "10s" }), await soon.get({ timeout: "10s" })]).toEqual(["acme: a", "acme: c"]);
});

test("one reminder in an hour, although the first was sent long ago", async () => {
  const first = await remind.delay("ada");
  expect(await first.get({ timeout: "10s" })).toBe("ada");
  const second = await remind.delay("ada");
  expect([second.isDuplicate, second.id]).toEqual([true, first.id]);
  expect((await remind.delay("grace")).isDuplicate).toBe(false);
});

test("an index is built anew with the last version, once nothing has changed for a while", async () => {
  const calls = [await reindex.delay(1), await reindex.delay(2), await reindex.delay(3)];
  expect(new Set(calls.map(({ id }) => id)).size).toBe(1);
  await (await app.broker()).delayed?.flush("celery"); // as if the wait were over
  expect(await calls[0]?.get({ timeout: "10s" })).toBe(3);
});
