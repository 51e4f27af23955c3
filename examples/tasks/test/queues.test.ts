import { afterAll, expect, test } from "vitest";

process.env.CELERY_BROKER_URL = "memory://queues-example";
process.env.CELERY_RESULT_BACKEND = "memory://queues-example";
const { app, makeWorker, providerIsBack, providerIsDown, render, renderSomeTime, send, whatIsPaused } = await import("../queues.ts");

const worker = makeWorker();
afterAll(async () => {
  await worker.stop();
  await app.close();
});

test("capsules beside each other, and a queue that is paused and goes on", async () => {
  await providerIsDown();
  expect(await whatIsPaused()).toEqual([expect.stringMatching(/^mail: on-call, since 20.*: the mail provider is down$/)]);
  await worker.start();
  expect(worker.status().capsules).toMatchObject([
    { name: "default", queues: ["critical", "default", "low"], slots: 50 },
    { name: "mail", slots: 10 },
    { name: "pdf", slots: 2 },
  ]);
  const mail = await send.delay("ann@example.org");
  expect(await (await render.delay("A-1")).get({ timeout: "10s" })).toBe("A-1.pdf");
  expect(await (await renderSomeTime("A-2")).get({ timeout: "10s" })).toBe("A-2.pdf");
  expect(await mail.state()).toBe("PENDING");
  await providerIsBack();
  expect(await mail.get({ timeout: "10s" })).toBe("sent to ann@example.org");
  expect(await whatIsPaused()).toEqual([]);
});
