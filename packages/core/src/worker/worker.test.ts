/** A worker as a whole: it starts, runs tasks, tells of them, is left. */
import { expect, test } from "vitest";

import { document, room } from "../../test/support/worker-room.ts";
import { Worker } from "./worker.ts";

test("a task runs, its result is stored, its message is gone", async () => {
  const { app, clock, broker, start, stop } = room();
  const add = app.task("shop.add", (x: number, y: number) => x + y);
  const running = await start();
  const result = await add.delay(2, 3);
  await clock.advance(0);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS", result: 5, traceback: null, children: [], task_id: result.id });
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ ready: 0, parked: 0, onLoan: 0, dead: 0 }]);
  expect(running.status()).toMatchObject({ state: "running", consuming: true, running: 0, onLoan: 0, processed: 1 });
  await stop(running);
  expect(running.status().state).toBe("stopped");
});

test("an error is stored with its type and traceback, and said at error level", async () => {
  const { app, clock, log, start, stop } = room();
  const fails = app.task("shop.fails", () => {
    throw new TypeError("no such thing");
  });
  const running = await start();
  const result = await fails.delay();
  await clock.advance(0);
  expect(await document(app, result.id)).toMatchObject({
    status: "FAILURE",
    result: { exc_type: "TypeError", exc_message: ["no such thing"], exc_module: "builtins" },
    traceback: expect.stringMatching(/^Traceback \(most recent call last\):\nTypeError: no such thing\n {4}at /),
  });
  expect(log).toContain(`error Task shop.fails[${result.id}] raised unexpected: TypeError('no such thing')`);
  await stop(running);
});

test("the log tells a task's life in Celery's words", async () => {
  const { app, clock, log, start, stop } = room();
  const wait = app.task({
    name: "shop.wait",
    throws: ["RangeError"],
    async run(ctx, expected: boolean) {
      await new Promise<void>((resolve) => void clock.timer(500, resolve));
      if (expected) throw new RangeError("as usual");
      ctx.log.info({}, "nearly done");
      return "ok";
    },
  });
  const running = await start();
  const good = await wait.delay(false);
  const bad = await wait.delay(true);
  await clock.advance(500);
  expect(log.filter((line) => line.includes("shop.wait"))).toEqual([
    `info Task shop.wait[${good.id}] received`,
    `info Task shop.wait[${bad.id}] received`,
    `info Task shop.wait[${good.id}] succeeded in 0.5s: 'ok'`,
    `info Task shop.wait[${bad.id}] raised expected: ValueError('as usual')`,
  ]);
  await stop(running);
});

test("a worker has a queue of its own when that is asked for", async () => {
  const { app, clock, start, stop } = room({ workerDirect: true });
  app.task("shop.here", () => "here");
  const running = await start();
  const result = await app.sendTask("shop.here", [], null, { queue: "w@test.dq2" });
  await clock.advance(0);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS", result: "here" });
  await stop(running);
});

test("an observer that throws disturbs nobody", async () => {
  const { app, clock, log, start, stop } = room();
  const add = app.task("shop.add", () => 1);
  const ended: string[] = [];
  const bad = {
    ended: () => {
      throw new Error("observer");
    },
  };
  const running = await start({ observers: [bad, { ended: (_, outcome) => ended.push(outcome.kind) }] });
  await add.delay();
  await clock.advance(0);
  expect(ended).toEqual(["succeeded"]);
  expect(log).toContain("error an observer of tasks failed: observer");
  await stop(running);
});

test("a start that cannot be fails with the reason and leaves nothing behind", async () => {
  const { app, clock } = room();
  const calls: string[] = [];
  app.onWorkerStart(() => Promise.reject(new Error("no database")));
  app.onWorkerStop(() => calls.push("stop"));
  const worker = new Worker(app);
  await expect(worker.start()).rejects.toThrow("no database");
  await expect(worker.finished).rejects.toThrow("no database");
  expect(worker.status().state).toBe("stopped");
  expect(calls).toEqual(["stop"]);
  expect(clock.pendingTimers).toBe(0);
});

test("a pool of children whose module is not known, and workers without queues, are refused at once", () => {
  expect(() => new Worker(room({ workerPool: "threads" }).app)).toThrow(/pool of threads cannot tell which module makes the app/);
  expect(() => new Worker(room().app, { excludeQueues: ["celery"] })).toThrow(/no queue/);
});

test("the banner names what runs where", async () => {
  const { app, start, stop } = room({ taskQueues: ["celery", "images"] });
  app.task("shop.add", () => 0);
  const running = await start({ concurrency: 7 });
  const lines = running.banner("1.2.3");
  expect(lines).toContain("w@test lovage v1.2.3");
  expect(lines).toContain("  concurrency: 7 (async)");
  expect(lines).toContain("  celery  exchange=celery(direct) key=celery");
  expect(lines).toContain("  . shop.add");
  await stop(running);
});

test("a thousand tasks settle in few steps, none is lost, and nothing is left", async () => {
  const { app, clock, broker, start, stop } = room();
  const seen = new Set<number>();
  const count = app.task("shop.count", async (index: number) => void seen.add(index));
  const memory = await broker();
  let settles = 0;
  const settle = memory.settle.bind(memory);
  memory.settle = (...args) => {
    settles += 1;
    return settle(...args);
  };
  await count.map(Array.from({ length: 1000 }, (_, index) => [index]));
  const running = await start();
  while (seen.size < 1000) await clock.advance(0);
  await clock.advance(0);
  expect(settles).toBeLessThan(50);
  expect(running.status()).toMatchObject({ processed: 1000, onLoan: 0, running: 0, waiting: 0 });
  await stop(running);
  expect(clock.pendingTimers).toBe(0);
});
