/** Hooks: their order, and what one that throws does. */
import { expect, test } from "vitest";

import { document, room } from "../../test/support/worker-room.ts";
import { currentTask } from "../app/process-wide.ts";

test("hooks run in Celery's order, with the result stored and the message not acknowledged yet", async () => {
  const { app, clock, broker, start, stop } = room();
  const calls: unknown[] = [];
  const depth = async (): Promise<number | undefined> => (await (await broker()).depth(["celery"]))[0]?.onLoan;
  app.onWorkerStart(() => calls.push("worker start"));
  app.onWorkerStop(() => calls.push("worker stop"));
  const hooked = app.task({
    name: "shop.hooked",
    retry: { maxRetries: 1, backoff: { kind: "fixed", delay: 1 } },
    beforeStart: (ctx) => calls.push(["before", ctx.retries]),
    onSuccess: async (value, ctx) => void calls.push(["success", value, (await document(app, ctx.id))?.["status"], await depth()]),
    onFailure: (error) => calls.push(["failure", (error as Error).message, currentTask()?.task]),
    onRetry: (error) => calls.push(["retry", (error as Error).message]),
    afterReturn: (state) => calls.push(["after", state]),
    run(_ctx, fails: boolean) {
      if (fails) throw new Error("oh");
      return "fine";
    },
  });
  const running = await start();
  await hooked.delay(false);
  await clock.advance(100);
  expect(calls.splice(0)).toEqual(["worker start", ["before", 0], ["success", "fine", "SUCCESS", 1], ["after", "SUCCESS"]]);
  await hooked.delay(true);
  await clock.advance(5000);
  expect(calls.splice(0)).toEqual([
    ["before", 0],
    ["retry", "oh"],
    ["before", 1],
    ["failure", "oh", "shop.hooked"],
    ["after", "FAILURE"],
  ]);
  expect(running.status()).toMatchObject({ onLoan: 0, running: 0 });
  await stop(running);
  expect(calls).toEqual(["worker stop"]);
});

test("a hook that throws changes nothing but the log", async () => {
  const { app, clock, log, start, stop } = room();
  const hooked = app.task("shop.hooked", { onSuccess: () => Promise.reject(new Error("hook")) }, () => "fine");
  const running = await start();
  const result = await hooked.delay();
  await clock.advance(100);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS" });
  expect(log).toContain(`error a hook of the task shop.hooked[${result.id}] failed: hook`);
  expect(running.status().onLoan).toBe(0);
  await stop(running);
});
