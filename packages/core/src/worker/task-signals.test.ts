/** What a task asks for by throwing, from end to end: another try, nothing, refusal. */
import { expect, test } from "vitest";

import { document, room } from "../../test/support/worker-room.ts";

test("ctx.retry publishes the task again with its id, one attempt more, and stores RETRY until then", async () => {
  const { app, clock, log, start, stop } = room();
  const seen: unknown[] = [];
  const flaky = app.task({
    name: "shop.flaky",
    run(ctx, order: string) {
      seen.push([ctx.retries, ctx.id, ctx.parentId, order]);
      if (ctx.retries < 2) ctx.retry({ countdown: 5, error: new Error("try later") });
      return "at last";
    },
  });
  const running = await start();
  const result = await flaky.delay("o-1");
  await clock.advance(0);
  expect(await document(app, result.id)).toMatchObject({
    status: "RETRY",
    result: { exc_type: "Exception", exc_message: ["try later"] },
    date_done: null,
    children: [[[result.id, null], null]],
  });
  expect(log).toContain(`info Task shop.flaky[${result.id}] retry: Retry in 5s: Exception('try later')`);
  await clock.advance(4999);
  expect(seen).toHaveLength(1);
  await clock.advance(1);
  expect(seen).toHaveLength(2);
  await clock.advance(5000);
  expect(seen).toEqual([
    [0, result.id, undefined, "o-1"],
    [1, result.id, result.id, "o-1"],
    [2, result.id, result.id, "o-1"],
  ]);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS", result: "at last" });
  await stop(running);
});

test("errors that the options name are retried with growing delays, and the original error is stored in the end", async () => {
  const { app, clock, start, stop } = room();
  const at: number[] = [];
  const call = app.task({
    name: "shop.call",
    retry: { maxRetries: 3, backoff: { kind: "exponential", base: "1s", jitter: "none" }, except: ["RangeError"] },
    async run(_ctx, kind: string) {
      at.push(clock.monotonic());
      if (kind === "final") throw new RangeError("pointless");
      throw Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:1"), { code: "ECONNREFUSED" });
    },
  });
  const running = await start();
  const result = await call.delay("passing");
  await clock.advance(60_000);
  expect(at).toEqual([0, 1000, 3000, 7000]);
  expect(await document(app, result.id)).toMatchObject({ status: "FAILURE", result: { exc_type: "ConnectionRefusedError" } });
  const final = await call.delay("final");
  await clock.advance(60_000);
  expect(at).toHaveLength(5);
  expect(await document(app, final.id)).toMatchObject({ status: "FAILURE", result: { exc_type: "ValueError" } });
  await stop(running);
});

test("when no retry is left ctx.retry throws the error it was given, or MaxRetriesExceededError", async () => {
  const { app, clock, start, stop } = room();
  const own = app.task({ name: "shop.own", maxRetries: 0, run: (ctx) => ctx.retry({ error: new Error("mine") }) });
  const none = app.task({ name: "shop.none", maxRetries: 0, run: (ctx) => ctx.retry() });
  const running = await start();
  const [first, second] = [await own.delay(), await none.delay()];
  await clock.advance(0);
  expect(await document(app, first.id)).toMatchObject({ status: "FAILURE", result: { exc_type: "Exception", exc_message: ["mine"] } });
  expect(await document(app, second.id)).toMatchObject({ status: "FAILURE", result: { exc_type: "MaxRetriesExceededError" } });
  await stop(running);
});

test("ignore stores nothing; reject goes to the dead letters with a failure, or back to the queue", async () => {
  const { app, clock, broker, start, stop } = room();
  let deliveries = 0;
  const ignored = app.task({ name: "shop.ignored", run: (ctx) => ctx.ignore() });
  const refused = app.task({ name: "shop.refused", run: (ctx) => ctx.reject("not ours") });
  const again = app.task({
    name: "shop.again",
    run(ctx) {
      if (deliveries++ === 0) ctx.reject("not now", { requeue: true });
      return ctx.delivery.redelivered;
    },
  });
  const running = await start();
  const results = [await ignored.delay(), await refused.delay(), await again.delay()];
  await clock.advance(100);
  expect(await document(app, results[0]?.id ?? "")).toBeUndefined();
  expect(await document(app, results[1]?.id ?? "")).toMatchObject({
    status: "FAILURE",
    result: { exc_type: "Reject", exc_message: ["not ours", false] },
  });
  expect(await document(app, results[2]?.id ?? "")).toMatchObject({ status: "SUCCESS", result: true });
  const { entries } = await (await broker()).deadLetters.page("celery", { limit: 10 });
  expect(entries).toMatchObject([{ id: results[1]?.id, task: "shop.refused", reason: "rejected", worker: "w@test", losses: 0 }]);
  await stop(running);
});
