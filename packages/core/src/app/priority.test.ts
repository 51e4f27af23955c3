import { expect, test } from "vitest";

import { encodeTaskMessage } from "../protocol/task-message.ts";
import { memoryApp } from "../testing/memory-app.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { Worker } from "../worker/worker.ts";
import { CallError, SettingError, TaskDefinitionError } from "./errors.ts";

const BAD = [-1, 10, 50, 255, 2.5, Number.NaN, "high" as unknown as number];

test.each(BAD)("a call with priority %s is refused, and nothing is sent", async (priority) => {
  await using app = memoryApp();
  const add = app.task("shop.add", (x: number) => x);
  for (const call of [
    () => add.applyAsync([1], undefined, { priority }),
    () => app.sendTask("elsewhere", [], undefined, { priority }),
    () => app.publishMany([{ name: "shop.add", args: [1], options: { priority } }]),
    async () => add.s(1).set({ priority }),
  ]) {
    const refused = await call().then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(refused).toBeInstanceOf(CallError);
    expect((refused as Error).message).toMatch(/^priority of a call of .*: it takes a whole number from 0, which is served first, to 9$/);
  }
  expect(await (await app.broker()).depth(["celery"])).toMatchObject([{ ready: 0 }]);
});

test("also in a task's options, in settings, routes and router functions", async () => {
  await using app = memoryApp({ taskRoutes: (name: string) => (name === "routed" ? { priority: 50 } : undefined) });
  app.task("shop.add", { priority: 50 }, (x: number) => x);
  expect(() => app.tasks.get("shop.add")?.options).toThrow(TaskDefinitionError);
  await expect(app.sendTask("routed")).rejects.toThrow(/"priority" in the route of routed is 50/);
  expect(() => memoryApp({ taskDefaultPriority: 50 }).settings).toThrow(SettingError);
  expect(() => memoryApp({ taskRoutes: { "shop.*": { priority: 50 } } }).settings).toThrow(/"priority" in the route of shop\.\* is 50/);
});

test("what a message of Python has is taken as it is, and inherited", async () => {
  const clock = new FakeClock();
  await using app = memoryApp({ clock, taskInheritParentPriority: true });
  const seen: number[] = [];
  const child = app.task({ name: "child", run: (ctx) => void seen.push(ctx.delivery.priority) });
  app.task({
    name: "parent",
    async run(ctx) {
      seen.push(ctx.delivery.priority);
      await child.delay();
    },
  });
  const message = encodeTaskMessage({ id: "one", task: "parent", args: [], kwargs: {}, priority: 50 }, { serializer: "json", now: 0 });
  await (await app.broker()).publish([{ message, exchange: "", routingKey: "celery" }]);
  const worker = new Worker(app, { name: "w@test" });
  await worker.start();
  await clock.advance(10);
  expect(seen).toEqual([50, 50]);
  const stopped = worker.stop();
  await clock.advance(30_000);
  await stopped;
});
