import fc from "fast-check";
import { expect, test } from "vitest";

import { document, room } from "../../test/support/worker-room.ts";
import { type BatchItem, Reject } from "../index.ts";

const EMPTY = [{ ready: 0, parked: 0, onLoan: 0, dead: 0 }];

test("messages run together as soon as there are as many as the task takes, the rest when the first has waited long enough", async () => {
  const { app, clock, start } = room({ workerConcurrency: 2 });
  const batches: { at: number; rows: number[] }[] = [];
  const insert = app.task({
    name: "insert",
    batch: { size: 10, wait: "2s" },
    run(ctx, items: readonly BatchItem<[row: number], number>[]) {
      batches.push({ at: clock.now(), rows: items.map(({ args: [row] }) => row) });
      expect(items.every(({ id }) => id !== ctx.id)).toBe(true);
      return items.map(({ args: [row] }) => row * 2);
    },
  });
  const worker = await start();
  const begun = clock.now();
  const results = await insert.map(Array.from({ length: 25 }, (_, i) => [i]));
  await clock.advance(0);
  expect(batches.map(({ rows }) => rows.length)).toEqual([10, 10]);
  expect(worker.status()).toMatchObject({ running: 0, processed: 20, onLoan: 0 });
  await clock.advance(1999);
  expect(batches).toHaveLength(2);
  await clock.advance(1);
  expect(batches[2]).toEqual({ at: begun + 2000, rows: [20, 21, 22, 23, 24] });
  expect(await Promise.all(results.map((result) => result.get()))).toEqual(Array.from({ length: 25 }, (_, i) => i * 2));
  expect(await (await app.broker()).depth(["celery"])).toMatchObject(EMPTY);
});

test("each item ends for itself: failed, retried, snoozed, ignored, rejected, or succeeded with the rest", async () => {
  const { app, clock, start } = room();
  const runs: string[][] = [];
  const task = app.task({
    name: "mixed",
    batch: { size: 7, wait: 0.1 },
    maxRetries: 1,
    run(_ctx, items: readonly BatchItem<[how: string]>[]) {
      runs.push(items.map(({ args: [how], retries }) => `${how}${retries}`));
      for (const item of items) {
        const [how] = item.args;
        if (how === "fail") item.fail(new TypeError("no good"));
        if (how === "retry") item.retry({ countdown: 1, error: new Error("not yet") });
        if (how === "snooze" && runs.length === 1) item.snooze(1);
        if (how === "ignore") item.ignore();
        if (how === "reject") item.reject("never");
        if (how === "value") item.succeed({ own: true });
      }
    },
  });
  await start();
  const results = await task.map(["fail", "retry", "snooze", "ignore", "reject", "value", "rest"].map((how) => [how]));
  await clock.advance(200);
  const states = async () => await Promise.all(results.map(async ({ id }) => (await document(app, id))?.["status"]));
  expect(await states()).toEqual(["FAILURE", "RETRY", "RETRY", undefined, "FAILURE", "SUCCESS", "SUCCESS"]);
  expect(await results[5]?.get()).toEqual({ own: true });
  expect(await results[6]?.get()).toBeNull();
  await expect(results[0]?.get()).rejects.toThrow("no good");
  await clock.advance(5000);
  expect(runs).toEqual([
    ["fail0", "retry0", "snooze0", "ignore0", "reject0", "value0", "rest0"],
    ["retry1", "snooze0"],
  ]);
  expect(await states()).toEqual(["FAILURE", "FAILURE", "SUCCESS", undefined, "FAILURE", "SUCCESS", "SUCCESS"]);
  await expect(results[1]?.get()).rejects.toThrow("not yet");
  expect(await (await app.broker()).depth(["celery"])).toMatchObject([{ ready: 0, parked: 0, onLoan: 0, dead: 1 }]);
});

test("what the function throws is the failure of all that are not marked, each retried by its own attempts", async () => {
  const { app, clock, start } = room();
  const runs: string[][] = [];
  const task = app.task({
    name: "throws",
    batch: { size: 3, wait: 0.1 },
    retry: { maxRetries: 2, backoff: { kind: "fixed", delay: 1, jitter: "none" } },
    async run(_ctx, items: readonly BatchItem<[name: string]>[]) {
      runs.push(items.map(({ args: [name], retries }) => `${name}${retries}`));
      items.find(({ args: [name] }) => name === "good")?.succeed("kept");
      await Promise.reject(new Error("the database is gone"));
    },
  });
  await start();
  const [good, a, b] = await task.map([["good"], ["a"], ["b"]]);
  await clock.advance(10_000);
  expect(runs).toEqual([["good0", "a0", "b0"], ["a1", "b1"], ["a2", "b2"]]); // prettier-ignore
  expect(await good?.get()).toBe("kept");
  await expect(a?.get()).rejects.toThrow("the database is gone");
  await expect(b?.get()).rejects.toThrow("the database is gone");
});

test("an item that expired or was revoked before the batch began is not in it", async () => {
  const { app, clock, start, sleep } = room({ workerConcurrency: 1 });
  const seen: number[] = [];
  const task = app.task({
    name: "picky",
    batch: { size: 4, wait: 1 },
    run: (_ctx, items: readonly BatchItem<[n: number]>[]) => void seen.push(...items.map(({ args: [n] }) => n)),
  });
  app.task("blocks", async () => await sleep(3000));
  await start();
  await app.sendTask("blocks");
  const results = [await task.delay(0), await task.applyAsync([1], null, { expires: 2 }), await task.delay(2), await task.delay(3)];
  await clock.advance(1500);
  await app.revoke([results[2]?.id ?? ""]);
  await clock.advance(3000);
  expect(seen).toEqual([0, 3]);
  expect(await Promise.all(results.map(async ({ id }) => (await document(app, id))?.["status"]))).toEqual([
    "SUCCESS",
    "REVOKED",
    "REVOKED",
    "SUCCESS",
  ]);
  expect(await (await app.broker()).depth(["celery"])).toMatchObject([{ ready: 0, parked: 0, onLoan: 0 }]);
});

test("a batch holds one slot; other tasks are not held up by one that gathers", async () => {
  const { app, clock, start, sleep } = room({ workerConcurrency: 2 });
  let most = 0;
  let running = 0;
  const task = app.task({
    name: "slow",
    batch: { size: 5, wait: 1 },
    async run(_ctx, items: readonly BatchItem<[n: number]>[]) {
      running += 1;
      most = Math.max(most, running);
      await sleep(1000);
      running -= 1;
      return items.map(({ args: [n] }) => n);
    },
  });
  const quick = app.task("quick", () => "done");
  const worker = await start();
  const results = await task.map(Array.from({ length: 22 }, (_, i) => [i]));
  const other = await quick.delay();
  await clock.advance(0);
  expect(worker.status().running).toBeLessThanOrEqual(10); // two slots of five
  await clock.advance(10_000);
  expect(most).toBe(2);
  expect(await other.get()).toBe("done");
  expect(await Promise.all(results.map((result) => result.get()))).toEqual(Array.from({ length: 22 }, (_, i) => i));
  expect(worker.status()).toMatchObject({ running: 0, onLoan: 0, processed: 23 });
});

test("a stop gives back what has not begun, in order, and waits for the batch that runs", async () => {
  const { app, clock, start, sleep } = room({ workerConcurrency: 1 });
  const seen: number[][] = [];
  const task = app.task({
    name: "stopped",
    batch: { size: 3, wait: 60 },
    async run(_ctx, items: readonly BatchItem<[n: number]>[]) {
      seen.push(items.map(({ args: [n] }) => n));
      await sleep(500);
    },
  });
  const worker = await start();
  await task.map(Array.from({ length: 8 }, (_, i) => [i]));
  await clock.advance(100);
  const stopped = worker.stop();
  await clock.advance(1000);
  await stopped;
  expect(seen).toEqual([[0, 1, 2]]);
  expect(await (await app.broker()).depth(["celery"])).toMatchObject([{ ready: 5, onLoan: 0 }]);
  await start({ name: "two@test" });
  await clock.advance(100_000);
  expect(seen).toEqual([[0, 1, 2], [3, 4, 5], [6, 7]]); // prettier-ignore
});

test("limits are of the batch: the hard limit ends all that are not marked", async () => {
  const { app, clock, start } = room();
  let reason: unknown;
  const task = app.task({
    name: "limited",
    batch: { size: 2, wait: 0.1 },
    softTimeLimit: 1,
    timeLimit: 2,
    async run(ctx, items: readonly BatchItem<[n: number]>[]) {
      ctx.signal.addEventListener("abort", () => (reason = (ctx.signal.reason as Error).name));
      items[0]?.succeed("in time");
      await new Promise(() => undefined);
    },
  });
  const worker = await start();
  const [first, second] = await task.map([[1], [2]]);
  await clock.advance(2500);
  expect(reason).toBe("SoftTimeLimitExceeded");
  expect(await first?.get()).toBe("in time");
  await expect(second?.get()).rejects.toThrow("hard time limit of 2 s");
  expect(worker.status()).toMatchObject({ running: 0, onLoan: 0 });
});

test("early acks: what runs is acknowledged before, and each ends for itself", async () => {
  const { app, clock, start, sleep } = room();
  const task = app.task({
    name: "early",
    acksLate: false,
    batch: { size: 2, wait: 0.1 },
    async run(_ctx, items: readonly BatchItem<[n: number]>[]) {
      expect(await (await app.broker()).depth(["celery"])).toMatchObject([{ onLoan: 0 }]);
      await sleep(100);
      items[0]?.fail(new Error("one of two"));
    },
  });
  const worker = await start();
  const [first, second] = await task.map([[1], [2]]);
  await clock.advance(1000);
  await expect(first?.get()).rejects.toThrow("one of two");
  expect(await second?.get()).toBeNull();
  expect(worker.status()).toMatchObject({ running: 0, onLoan: 0 });
});

test("callbacks, chains and progress are each item's own", async () => {
  const { app, clock, start, sleep } = room();
  const task = app.task({
    name: "linked",
    batch: { size: 2, wait: 0.1 },
    async run(ctx, items: readonly BatchItem<[n: number], number>[]) {
      await ctx.progress(1, 2);
      await sleep(1000);
      return items.map(({ args: [n] }) => n + 1);
    },
  });
  const double = app.task("double", (n: number) => n * 2);
  await start();
  const chained = await task.applyAsync([10], null, { link: [double.s()] });
  const plain = await task.delay(20);
  await clock.advance(500);
  expect(await document(app, plain.id)).toMatchObject({ status: "PROGRESS", result: { current: 1, total: 2 } });
  await clock.advance(2000);
  expect(await chained.get()).toBe(11);
  expect(await plain.get()).toBe(21);
  const { children } = (await document(app, chained.id)) as { children: [[string, string], null][] };
  expect(await document(app, children[0]?.[0]?.[0] ?? "")).toMatchObject({ result: 22 });
});

test("arguments that do not fit fail their own item, and a batch task has no hooks", async () => {
  const { app, clock, start } = room();
  const task = app.task({
    name: "bound",
    params: ["x", "y"],
    batch: { size: 2, wait: 0.1 },
    run: (_ctx, items: readonly BatchItem<[x: number, y: number], number>[]) => items.map(({ args: [x, y] }) => x + y),
  });
  await start();
  const bad = await app.sendTask("bound", [1], { z: 2 });
  const good = await app.sendTask("bound", [1], { y: 2 });
  await clock.advance(1000);
  await expect(bad.get()).rejects.toThrow("there is no parameter z");
  expect(await good.get()).toBe(3);
  expect(await (await task.apply([4, 5])).get()).toBe(9);
  // @ts-expect-error nor does it compile
  expect(() => app.task({ name: "hooked", batch: {}, onSuccess: () => undefined, run: () => undefined })).toThrow(/has no onSuccess/);
  expect(() => app.task({ name: "wide", batch: { size: 0 }, run: () => undefined }).options).toThrow(/batch.size of the task wide is 0/);
});

test("a value for each item, or none: a list of another length fails them all", async () => {
  const { app, clock, start } = room();
  const task = app.task({ name: "short", batch: { size: 2, wait: 0.1 }, run: () => [1] });
  await start();
  const results = await task.map([[], []]);
  await clock.advance(1000);
  for (const result of results) await expect(result.get()).rejects.toThrow("short returned a list of 1 for a batch of 2");
});

/** What an item of the property test is to come to, in its first run. */
const HOW = fc.constantFrom("succeed", "fail", "retry", "reject", "ignore", "none");

test("whatever becomes of the items of a batch, each is settled exactly once", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(HOW, { minLength: 1, maxLength: 30 }),
      fc.boolean(),
      fc.integer({ min: 1, max: 8 }),
      async (hows, throws, size) => {
        const { app, clock, start, leave } = room({ workerConcurrency: 2 });
        const ends = new Map<number, string[]>();
        const ended = (n: number, how: string): void => void ends.set(n, [...(ends.get(n) ?? []), how]);
        const task = app.task({
          name: "random",
          batch: { size, wait: 0.05 },
          maxRetries: 3,
          run(_ctx, items: readonly BatchItem<[n: number, how: string], string>[]) {
            for (const item of items) {
              const [n, how] = item.args;
              if (how === "retry" && item.retries === 0) {
                item.retry({ countdown: 0.1 });
                continue;
              }
              if (how === "succeed" || how === "retry") item.succeed(how);
              if (how === "fail") item.fail(new Error("no"));
              if (how === "ignore") item.ignore();
              if (how === "reject") item.fail(new Reject("no", { requeue: false }));
              ended(n, how);
            }
            if (throws) throw new Error("all the rest");
          },
        });
        const worker = await start();
        const results = await task.map(hows.map((how, n) => [n, how]));
        await clock.advance(5000);
        expect([...ends.values()].map((list) => list.length)).toEqual(hows.map(() => 1));
        const states = await Promise.all(results.map(async ({ id }) => (await document(app, id))?.["status"]));
        const expected = {
          succeed: "SUCCESS",
          retry: "SUCCESS",
          fail: "FAILURE",
          reject: "FAILURE",
          ignore: undefined,
          none: throws ? "FAILURE" : "SUCCESS",
        };
        expect(states).toEqual(hows.map((how) => expected[how]));
        expect(worker.status()).toMatchObject({ running: 0, onLoan: 0 });
        const [depth] = await (await app.broker()).depth(["celery"]);
        expect(depth).toMatchObject({ ready: 0, parked: 0, onLoan: 0, dead: hows.filter((how) => how === "reject").length });
        await leave();
      },
    ),
    { numRuns: 25 },
  );
});
