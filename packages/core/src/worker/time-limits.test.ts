/** Soft and hard time limits in the pool on the event loop. */
import { expect, test } from "vitest";

import { document, room } from "../../test/support/worker-room.ts";
import { SoftTimeLimitExceeded } from "../protocol/celery-errors.ts";

test("the soft limit aborts the signal; a task that heeds it can still succeed", async () => {
  const { app, clock, log, start, stop } = room();
  const tidy = app.task({
    name: "shop.tidy",
    softTimeLimit: 2,
    run: (ctx) =>
      new Promise((resolve) => ctx.signal.addEventListener("abort", () => resolve(ctx.signal.reason instanceof SoftTimeLimitExceeded))),
  });
  const running = await start();
  const result = await tidy.delay();
  await clock.advance(2000);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS", result: true });
  expect(log).toContain(`warn Soft time limit (2s) exceeded for shop.tidy[${result.id}]`);
  await stop(running);
  expect(clock.pendingTimers).toBe(0);
});

test("at the hard limit a task that waits is recorded and its slot is free; what it does later counts for nothing", async () => {
  const { app, clock, start, stop } = room();
  const stuck = app.task("shop.stuck", { timeLimit: 3 }, async () => {
    await new Promise<void>((resolve) => void clock.timer(10_000, resolve));
    return "too late";
  });
  const running = await start({ concurrency: 1 });
  const result = await stuck.delay();
  const own = await stuck.applyAsync([], null, { timeLimit: 1 }); // the message's own limit wins
  await clock.advance(2999);
  expect(await document(app, result.id)).toBeUndefined();
  await clock.advance(1);
  expect(await document(app, result.id)).toMatchObject({
    status: "FAILURE",
    result: { exc_type: "TimeLimitExceeded", exc_message: [3], exc_module: "billiard.exceptions" },
    traceback: null,
  });
  await clock.advance(1000);
  expect(await document(app, own.id)).toMatchObject({ status: "FAILURE", result: { exc_message: [1] } });
  expect(running.status().running).toBe(0);
  await clock.advance(10_000);
  expect(await document(app, result.id)).toMatchObject({ status: "FAILURE" });
  await stop(running);
});
