import { expect, test } from "vitest";

import { document, room, type Room } from "../../test/support/worker-room.ts";
import { range } from "../index.ts";

const STEP_MS = 100;

function stepsTask({ app, sleep }: Room, done: number[], options: Record<string, unknown> = {}, size = 10) {
  return app.task({
    name: "steps",
    ...options,
    async run(ctx) {
      const steps = ctx.iterate(range(0, size), { total: size });
      for await (const number of steps) {
        await sleep(STEP_MS);
        done.push(number);
      }
      return { steps: steps.done, retries: ctx.retries };
    },
  });
}

test.each([
  ["late acks", {}],
  ["early acks", { acksLate: false }],
])("%s: a stop interrupts after the step at hand, and another worker goes on from there, with no attempt counted", async (_, options) => {
  const here = room();
  const { app, clock, start } = here;
  const done: number[] = [];
  const task = stepsTask(here, done, options);
  const first = await start({ name: "one@test" });
  const result = await task.applyAsync([], null, { expires: "2s" });
  await clock.advance(350);
  const stopped = first.stop();
  await clock.advance(60);
  await stopped; // long before its grace is over
  expect(done).toEqual([0, 1, 2, 3]);
  expect(await document(app, result.id)).toMatchObject({ status: "PROGRESS", result: { current: 4, total: 10 } });
  await clock.advance(10_000); // what was begun does not expire
  await start({ name: "two@test" });
  await clock.advance(1000);
  expect(done).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(await result.get()).toEqual({ steps: 10, retries: 0 });
  expect(await (await app.broker()).depth(["celery"])).toMatchObject([{ ready: 0, parked: 0, onLoan: 0, dead: 0 }]);
});

test("a quiet worker lets go of its iterations; what has no iteration goes on", async () => {
  const here = room();
  const { app, clock, start } = here;
  const done: number[] = [];
  const plain = app.task("plain", async () => await new Promise<string>((resolve) => void clock.timer(2000, () => resolve("done"))));
  const worker = await start();
  await stepsTask(here, done).delay();
  const other = await plain.delay();
  await clock.advance(250);
  await worker.quiet();
  await clock.advance(100);
  expect(worker.status().running).toBe(1);
  expect(await (await app.broker()).depth(["celery"])).toMatchObject([{ ready: 1 }]);
  await clock.advance(2000);
  expect(await other.get()).toBe("done");
  await worker.resume();
  await clock.advance(1000);
  expect(done).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("a retry goes on from the step that failed, and counts", async () => {
  const { app, clock, start } = room();
  const done: number[] = [];
  const task = app.task({
    name: "flaky",
    retry: { maxRetries: 1, backoff: { kind: "fixed", delay: 1, jitter: "none" } },
    async run(ctx) {
      for await (const number of ctx.iterate(range(0, 5))) {
        if (number === 3 && ctx.retries === 0) throw new Error("the third");
        done.push(number);
      }
      return ctx.retries;
    },
  });
  await start();
  const result = await task.delay();
  await clock.advance(5000);
  expect(await result.get()).toBe(1);
  expect(done).toEqual([0, 1, 2, 3, 4]);
});

test("a snooze inside a step repeats that step alone", async () => {
  const { app, clock, start } = room();
  const begun: number[] = [];
  const task = app.task({
    name: "waits",
    async run(ctx) {
      for await (const number of ctx.iterate(range(0, 4))) {
        begun.push(number);
        if (number === 2 && begun.filter((each) => each === 2).length === 1) ctx.snooze(1);
      }
    },
  });
  await start();
  const result = await task.delay();
  await clock.advance(5000);
  await result.get();
  expect(begun).toEqual([0, 1, 2, 2, 3]);
});

test("a task that will not end is aborted after the grace, and goes on from its last step", async () => {
  const { app, clock, start } = room({ shutdownGrace: 1 });
  const begun: number[] = [];
  let isStuck = true;
  app.task({
    name: "stuck",
    async run(ctx) {
      for await (const number of ctx.iterate(range(0, 4))) {
        begun.push(number);
        if (number === 2 && isStuck) await new Promise(() => undefined);
      }
    },
  });
  const first = await start({ name: "one@test" });
  await app.sendTask("stuck");
  await clock.advance(100);
  const stopped = first.stop();
  await clock.advance(5000);
  await stopped;
  isStuck = false;
  await start({ name: "two@test" });
  await clock.advance(100);
  expect(begun).toEqual([0, 1, 2, 2, 3]);
});

test("a checkpoint survives a worker that vanishes: what was done before it is not done again", async () => {
  const { app, clock, start, sleep } = room();
  const done: number[] = [];
  const task = app.task({
    name: "crashed",
    async run(ctx) {
      for await (const number of ctx.iterate(range(0, 30), { checkpointEvery: "1s" })) {
        await sleep(STEP_MS);
        done.push(number);
      }
    },
  });
  await start({ name: "one@test" });
  await task.delay();
  await clock.advance(1750);
  const leases = (await app.broker()).leases;
  const [lease] = (await leases?.list()) ?? [];
  await leases?.release(lease?.worker ?? ""); // by hand, as of a worker that is gone
  done.push(-1);
  await clock.advance(10_000);
  const after = done.slice(done.indexOf(-1) + 1);
  expect(new Set(done.filter((each) => each >= 0)).size).toBe(30);
  expect(Math.min(...after)).toBeGreaterThanOrEqual(9);
});

test("maxRuntime lets others have their turn", async () => {
  const { app, clock, start, sleep } = room({ workerConcurrency: 1 });
  const order: string[] = [];
  const long = app.task({
    name: "long",
    async run(ctx, name: string) {
      for await (const number of ctx.iterate(range(0, 4), { maxRuntime: 0.15 })) {
        await sleep(STEP_MS);
        order.push(`${name}${number}`);
      }
    },
  });
  await start();
  await long.delay("a");
  await long.delay("b");
  await clock.advance(3000);
  expect(order).toEqual(["a0", "a1", "b0", "b1", "a2", "a3", "b2", "b3"]);
});

test("a task that tells its own progress is not overruled", async () => {
  const { app, clock, start, sleep } = room();
  const task = app.task({
    name: "own",
    async run(ctx) {
      await ctx.updateState("COOKING", { dish: "stew" });
      for await (const _ of ctx.iterate(range(0, 10), { total: 10 })) await sleep(STEP_MS);
    },
  });
  const worker = await start();
  const result = await task.delay();
  await clock.advance(250);
  const stopped = worker.stop();
  await clock.advance(100);
  await stopped;
  expect(await document(app, result.id)).toMatchObject({ status: "COOKING", result: { dish: "stew" } });
});

test("an eager call goes through all steps", async () => {
  const { app } = room();
  const task = app.task({
    name: "eager",
    async run(ctx) {
      let sum = 0;
      for await (const number of ctx.iterate(range(0, 5), { maxRuntime: 0.001, checkpointEvery: 0.001 })) sum += number;
      return sum;
    },
  });
  expect(await (await task.apply([])).get()).toBe(10);
});
