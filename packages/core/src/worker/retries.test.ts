/** Retry policies from end to end: a worker, a broker in memory, a clock turned by hand. */
import { expect, test } from "vitest";

import type { Lovage } from "../app/app.ts";
import type { TaskOptions } from "../app/task-options.ts";
import { NonRetryableError } from "../app/task-signals.ts";
import type { MemoryBroker } from "../brokers/memory/index.ts";
import type { LogFields, Logger } from "../shared/log.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { memoryApp } from "../testing/memory-app.ts";
import { Worker } from "./worker.ts";

const HOUR = 3_600_000;

interface Room {
  readonly app: Lovage;
  readonly clock: FakeClock;
  readonly warnings: string[];
  /** Runs the task until nothing is left of it; `at` are the ms at which its attempts began. */
  run(options: TaskOptions, fail: (attempt: number) => unknown): Promise<{ at: number[]; state: unknown }>;
}

function room(random = () => 0.5, settings: { taskDefaultRetryDelay?: number; taskDefaultMaxRetries?: number } = {}): Room {
  const clock = new FakeClock();
  const warnings: string[] = [];
  const warn = (_: LogFields, message: string): void => void warnings.push(message);
  const logger: Logger = { debug() {}, info() {}, warn, error() {}, child: () => logger };
  const app = memoryApp({ clock, logger, random, ...settings });
  return {
    app,
    clock,
    warnings,
    async run(options, fail) {
      const at: number[] = [];
      const from = clock.monotonic();
      const task = app.task({
        ...options,
        name: `shop.task${clock.monotonic()}`,
        run() {
          at.push(clock.monotonic() - from);
          throw fail(at.length);
        },
      });
      const { id } = await task.delay();
      await work(app, clock, HOUR);
      const backend = await app.backend();
      const [text] = (await backend?.fetch([id])) ?? [];
      // Parked ones are back at the worker's next look, a few hundredths of a second late.
      return { at: at.map((time) => Math.floor(time / 100) * 100), state: (JSON.parse(String(text)) as { status: unknown }).status };
    },
  };
}

async function work(app: Lovage, clock: FakeClock, ms: number): Promise<void> {
  const worker = new Worker(app, { name: "w@test" });
  await worker.start();
  await clock.advance(ms);
  const stopped = worker.stop();
  await clock.advance(30_000);
  await stopped;
}

test("five retries after 10, 20, 40, 80 and 160 s; the sixth failure is the last", async () => {
  const options = { autoretryFor: [Error], maxRetries: 5, retryBackoff: 10, retryJitter: false };
  const { at, state } = await room().run(options, () => new Error("down"));
  expect(at).toEqual([0, 10_000, 30_000, 70_000, 150_000, 310_000]);
  expect(state).toBe("FAILURE");
});

test("with jitter each delay is a part of that", async () => {
  const { at } = await room(() => 0.25).run({ autoretryFor: [Error], maxRetries: 5, retryBackoff: 10 }, () => new Error("down"));
  expect(at.slice(1).map((time, index) => time - (at[index] ?? 0))).toEqual([2500, 5000, 10_000, 20_000, 40_000]);
});

test("the settings' delay and limit are those of tasks that say nothing", async () => {
  const { app, clock } = room(undefined, { taskDefaultRetryDelay: 10, taskDefaultMaxRetries: 2 });
  const at: number[] = [];
  const task = app.task({
    name: "shop.byHand",
    run(ctx) {
      at.push(clock.monotonic());
      ctx.retry();
    },
  });
  await task.delay();
  await work(app, clock, HOUR);
  expect(at).toEqual([0, 10_000, 20_000]);
});

test("a limit given to retry() wins over the task's", async () => {
  const { app, clock } = room();
  const retries: number[] = [];
  const task = app.task({
    name: "shop.own",
    maxRetries: 10,
    run(ctx) {
      retries.push(ctx.retries);
      ctx.retry({ countdown: 60, maxRetries: 3 });
    },
  });
  await task.delay();
  await work(app, clock, HOUR);
  expect(retries).toEqual([0, 1, 2, 3]);
});

test("errors that will not pass fail at once", async () => {
  const here = room();
  const once = { at: [0], state: "FAILURE" };
  expect(await here.run({ retry: {} }, () => new NonRetryableError("no"))).toEqual(once);
  expect(await here.run({ autoretryFor: [Error], dontAutoretryFor: [RangeError] }, () => new RangeError("no"))).toEqual(once);
  expect(await here.run({ retry: {}, throws: [RangeError] }, () => new RangeError("no"))).toEqual(once);
});

test("a time limit over all attempts holds, and travels with the message", async () => {
  const retry = { maxRetries: null, maxElapsed: "35s", backoff: { kind: "fixed", delay: 10, jitter: "none" } } as const;
  expect((await room().run({ retry }, () => new Error("down"))).at).toEqual([0, 10_000, 20_000, 30_000]);
});

test("the other side's Retry-After is waited for", async () => {
  const retry = { maxRetries: 1, backoff: { kind: "exponential", base: "1s" } } as const;
  const limited = () => Object.assign(new Error("429"), { response: { headers: new Headers({ "retry-after": "90" }) } });
  expect((await room().run({ retry }, limited)).at).toEqual([0, 90_000]);
});

test("a backoff function that throws is the failure", async () => {
  const backoff = () => {
    throw new Error("no such plan");
  };
  expect(await room().run({ retry: { backoff } }, () => new Error("down"))).toEqual({ at: [0], state: "FAILURE" });
});

test("a snooze costs no attempt and shows as one that runs again", async () => {
  const { app, clock } = room();
  const seen: [number, number][] = [];
  const task = app.task({
    name: "shop.wait",
    maxRetries: 0,
    run(ctx, what: string) {
      seen.push([clock.monotonic(), ctx.retries]);
      if (seen.length < 4) ctx.snooze("30s");
      return what;
    },
  });
  const result = await task.delay("done");
  const worker = new Worker(app, { name: "w@test" });
  await worker.start();
  await clock.advance(1000);
  expect(await result.state()).toBe("RETRY");
  await clock.advance(200_000);
  expect(seen).toEqual([0, 30_000, 60_000, 90_000].map((time) => [time, 0]));
  expect(await result.get()).toBe("done");
  const [depth] = await ((await app.broker()) as MemoryBroker).depth(["celery"]);
  expect(depth).toMatchObject({ ready: 0, parked: 0, dead: 0 });
  const stopped = worker.stop();
  await clock.advance(30_000);
  await stopped;
});

test("a task that is retried at one fixed delay is warned about, once", async () => {
  const here = room();
  await here.run({ autoretryFor: [Error], maxRetries: 3, defaultRetryDelay: 5 }, () => new Error("down"));
  expect(here.warnings.filter((line) => line.includes("come back together"))).toHaveLength(1);
  const spread = room();
  await spread.run({ retry: { maxRetries: 3, backoff: { kind: "fixed", delay: 5 } } }, () => new Error("down"));
  expect(spread.warnings).toEqual([]);
});

test("ten thousand tasks that fail at once come back spread over the ten seconds", async () => {
  let seed = 1;
  const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
  const { app, clock } = room(random);
  const buckets = new Map<number, number>();
  const task = app.task({
    name: "shop.down",
    retry: { maxRetries: 1, backoff: { kind: "exponential", base: "10s" } },
    run(ctx) {
      if (ctx.retries === 0) throw new Error("down");
      const bucket = Math.floor(clock.monotonic() / 100);
      buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1);
    },
  });
  await app.publishMany(Array.from({ length: 10_000 }, () => task.call()));
  const worker = new Worker(app, { name: "w@test", concurrency: 10_000 });
  await worker.start();
  await clock.advance(15_000);
  const counts = [...buckets.values()];
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(10_000);
  expect(Math.max(...counts)).toBeLessThanOrEqual(300);
  const stopped = worker.stop();
  await clock.advance(30_000);
  await stopped;
}, 60_000);

test("an eager call follows the same policy, without the waits", async () => {
  const { app } = room();
  const task = app.task({
    name: "shop.eager",
    retry: { maxRetries: 5, backoff: (_, attempt) => (attempt < 3 ? "1h" : null) },
    run(ctx) {
      throw new Error(`attempt ${ctx.retries + 1}`);
    },
  });
  await expect((await task.apply([])).get()).rejects.toThrow("attempt 3");
  const once = app.task({ name: "shop.once", retry: {}, run: () => Promise.reject(new NonRetryableError("no")) });
  await expect((await once.apply([])).get()).rejects.toThrow("no");
  let snoozes = 0;
  const patient = app.task({ name: "shop.patient", run: (ctx) => (++snoozes < 4 ? ctx.snooze("1h") : ctx.retries) });
  expect(await (await patient.apply([])).get()).toBe(0);
  const endless = app.task({ name: "shop.endless", run: (ctx) => ctx.snooze("1h") });
  await expect(endless.apply([])).rejects.toThrow("it would go on for ever");
});
