/** When a task runs that is due later, or not any more. */
import { expect, test } from "vitest";

import { document, room } from "../../test/support/worker-room.ts";

test("an ETA that is near is waited for in memory without a slot, a far one is parked in the broker; both run on time", async () => {
  const { app, clock, broker, start, stop } = room();
  const at: Record<string, number> = {};
  const note = app.task("shop.note", (name: string) => void (at[name] = clock.monotonic()));
  const running = await start({ concurrency: 1 });
  await note.applyAsync(["near"], null, { countdown: 5 });
  await note.applyAsync(["far"], null, { countdown: 45 });
  await note.delay("now");
  await clock.advance(1000);
  expect(running.status()).toMatchObject({ scheduled: 1, onLoan: 0 });
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ ready: 0, parked: 1 }]);
  await clock.advance(60_000);
  expect(at["now"]).toBe(0);
  expect(at["near"]).toBe(5000);
  expect(at["far"]).toBeGreaterThanOrEqual(45_000);
  expect(at["far"]).toBeLessThan(45_200);
  await stop(running);
});

test("near ETAs beyond the limit are parked, so that memory is bounded", async () => {
  const { app, clock, broker, start, stop } = room({ workerEtaTaskLimit: 3 });
  let ran = 0;
  const count = app.task("shop.count", () => void ran++);
  const running = await start();
  for (let i = 0; i < 10; i++) await count.applyAsync([], null, { countdown: 5 });
  await clock.advance(1000);
  expect(running.status().scheduled).toBe(3);
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ parked: 7 }]);
  await clock.advance(5000);
  expect(ran).toBe(10);
  await stop(running);
});

test("a task that has expired is revoked and not run: on receipt, and when a slot comes too late", async () => {
  const { app, clock, log, start, stop } = room();
  const ran: string[] = [];
  const slow = app.task("shop.slow", async (name: string) => {
    ran.push(name);
    await new Promise<void>((resolve) => void clock.timer(10_000, resolve));
  });
  const early = await slow.applyAsync(["before the start"], null, { expires: 1 });
  await clock.advance(1001);
  const running = await start({ concurrency: 1 });
  await slow.delay("first");
  await clock.advance(0);
  const waits = await slow.applyAsync(["waits"], null, { expires: 5, countdown: 1 });
  await clock.advance(30_000);
  expect(ran).toEqual(["first"]);
  for (const { id } of [early, waits]) {
    expect(await document(app, id)).toMatchObject({
      status: "REVOKED",
      result: { exc_type: "TaskRevokedError", exc_message: ["expired"] },
    });
    expect(log).toContain(`info Discarding expired task: shop.slow[${id}]`);
  }
  await stop(running);
});
