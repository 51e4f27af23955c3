/** What a worker stores of its tasks, and when. */
import { expect, test } from "vitest";

import { document, room } from "../../test/support/worker-room.ts";
import { currentTask } from "../app/process-wide.ts";

test("results are ignored as the message says, then the task, then the settings; errors may be kept all the same", async () => {
  const { app, clock, start, stop } = room({ taskStoreErrorsEvenIfIgnored: true });
  const quiet = app.task({
    name: "shop.quiet",
    ignoreResult: true,
    run: (_ctx, fails: boolean) => (fails ? Promise.reject(new Error("loud")) : 1),
  });
  const running = await start();
  const ignored = await quiet.delay(false);
  const asked = await quiet.applyAsync([false], null, { ignoreResult: false });
  const failed = await quiet.delay(true);
  await clock.advance(0);
  expect(await document(app, ignored.id)).toBeUndefined();
  expect(await document(app, asked.id)).toMatchObject({ status: "SUCCESS", result: 1 });
  expect(await document(app, failed.id)).toMatchObject({ status: "FAILURE" });
  await stop(running);
});

test("STARTED, progress and states of its own are stored while it runs, in order, before the outcome", async () => {
  const { app, clock, start, stop } = room({ taskTrackStarted: true });
  const states: string[] = [];
  const report = app.task({
    name: "shop.report",
    async run(ctx) {
      await new Promise<void>((resolve) => void clock.timer(10, resolve)); // of states told in one turn only the last is stored
      await ctx.progress(1, 3, { row: "a" });
      await ctx.updateState("UPLOADING", { file: "x" });
      void ctx.progress(2, 3); // not waited for
      return "done";
    },
  });
  const running = await start();
  const backend = await app.backend();
  const taskId = "11111111-2222-4333-8444-555555555555";
  using _watch = await backend?.watch(taskId, (text) => void states.push(JSON.parse(String(text)).status));
  await report.applyAsync([], null, { taskId });
  while (states.at(-1) !== "SUCCESS") await clock.advance(10);
  expect(states).toEqual(["STARTED", "PROGRESS", "UPLOADING", "PROGRESS", "SUCCESS"]);
  await stop(running);
});

test("extended results, expiry, and children of a task that sends tasks", async () => {
  const { app, clock, start, stop } = room({ resultExtended: true, resultExpires: "1h" });
  const child = app.task("shop.child", () => currentTask()?.parentId);
  const parent = app.task({ name: "shop.parent", run: async () => (await child.delay()).id });
  const running = await start();
  const sent = await parent.delay();
  await clock.advance(0);
  const stored = await document(app, sent.id);
  const childId = String(stored?.["result"]);
  expect(stored).toMatchObject({
    name: "shop.parent",
    args: [],
    kwargs: {},
    worker: "w@test",
    retries: 0,
    queue: "celery",
    children: [[[childId, null], null]],
  });
  expect(await document(app, childId)).toMatchObject({ status: "SUCCESS", result: sent.id, parent_id: sent.id });
  await clock.advance(3_600_000);
  expect(await document(app, sent.id)).toBeUndefined();
  await stop(running);
});

test("a value that JSON cannot hold is a failure that says so", async () => {
  const { app, clock, start, stop } = room();
  const circular = app.task("shop.circular", () => {
    const value: Record<string, unknown> = {};
    value["self"] = value;
    return value;
  });
  const running = await start();
  const result = await circular.delay();
  await clock.advance(0);
  expect(await document(app, result.id)).toMatchObject({ status: "FAILURE", result: { exc_type: "ProtocolError" } });
  await stop(running);
});
