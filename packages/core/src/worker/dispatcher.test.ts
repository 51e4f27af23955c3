/** What runs beside what, and when a body may begin. */
import { expect, test } from "vitest";

import { document, room } from "../../test/support/worker-room.ts";

test("no more bodies run at once than there are slots, and no more messages are taken than can run", async () => {
  const { app, clock, broker, start, stop } = room();
  let running = 0;
  let most = 0;
  const slow = app.task("shop.slow", async () => {
    most = Math.max(most, ++running);
    await new Promise<void>((resolve) => void clock.timer(1000, resolve));
    running--;
  });
  for (let i = 0; i < 10; i++) await slow.delay();
  const worker3 = await start({ concurrency: 3 });
  await clock.advance(500);
  expect(worker3.status()).toMatchObject({ running: 3, waiting: 0, onLoan: 3 });
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ ready: 7 }]);
  await clock.advance(5000);
  expect(most).toBe(3);
  expect(worker3.status().processed).toBe(10);
  await stop(worker3);
});

test("early acks: the message is gone before the body begins", async () => {
  const { app, clock, broker, start, stop } = room();
  const depths: unknown[] = [];
  const early = app.task({
    name: "shop.early",
    acksLate: false,
    async run() {
      depths.push((await (await broker()).depth(["celery"]))[0]);
      return "ran";
    },
  });
  const running = await start();
  const result = await early.delay();
  await clock.advance(0);
  expect(depths).toMatchObject([{ ready: 0, onLoan: 0 }]);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS", result: "ran" });
  expect(running.status().onLoan).toBe(0);
  await stop(running);
});

test("early acks: a message that is another worker's by then is not run", async () => {
  const { app, clock, broker, start, stop } = room();
  let runs = 0;
  const early = app.task("shop.early", { acksLate: false }, () => void runs++);
  const running = await start();
  const memory = await broker();
  const settle = memory.settle.bind(memory);
  memory.settle = async (settlements) => settlements.map(() => "lost");
  await early.delay();
  await clock.advance(0);
  expect(runs).toBe(0);
  expect(running.status()).toMatchObject({ running: 0, onLoan: 0 });
  memory.settle = settle;
  await early.delay();
  await clock.advance(0);
  expect(runs).toBe(1);
  await stop(running);
});

test("while the lease is not sure no body starts; when the broker answers again they do", async () => {
  const { app, clock, broker, start, stop } = room();
  const at: number[] = [];
  const note = app.task("shop.note", () => void at.push(clock.monotonic()));
  const running = await start();
  const memory = await broker();
  const renew = memory.leases.renew.bind(memory.leases);
  Object.assign(memory.leases, { renew: () => Promise.reject(new Error("away")), sweep: () => Promise.reject(new Error("away")) });
  await clock.advance(9000);
  await note.delay();
  await clock.advance(5000);
  expect(running.status()).toMatchObject({ waiting: 1, running: 0 });
  expect(at).toEqual([]);
  Object.assign(memory.leases, { renew });
  await clock.advance(2500);
  expect(at).toHaveLength(1);
  await stop(running);
});

test("a worker whose lease was lost tells its tasks, keeps nothing of them, and goes on under a new lease", async () => {
  const { app, clock, broker, log, start, stop } = room();
  const reasons: string[] = [];
  let blocked = true;
  const work = app.task({
    name: "shop.work",
    async run(ctx) {
      if (!blocked) return "second";
      await new Promise<void>((resolve) => ctx.signal.addEventListener("abort", () => resolve()));
      reasons.push((ctx.signal.reason as Error).name);
      return "first";
    },
  });
  const running = await start();
  const result = await work.delay();
  await clock.advance(0);
  const memory = await broker();
  const owner = (await memory.leases.list())[0]?.worker ?? "";
  await memory.leases.renew(owner, 1); // as if it had been stopped for longer than its lease
  await clock.advance(2);
  blocked = false;
  expect(await memory.leases.sweep({ maxDeliveries: 5, leaseMs: 10_000, visibilityTimeoutMs: 1 })).toMatchObject({ returned: 1 });
  await clock.advance(10_000);
  expect(reasons).toEqual(["LeaseLostError"]);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS", result: "second" });
  expect(log.some((line) => line.startsWith("error this worker's lease ran out"))).toBe(true);
  expect(running.status()).toMatchObject({ consuming: true, onLoan: 0 });
  await stop(running);
});

test("a redelivered message whose task has succeeded is not run again when that is asked for", async () => {
  const { app, clock, broker, start, stop } = room({ workerDeduplicateSuccessfulTasks: true });
  let runs = 0;
  const count = app.task("shop.count", () => ++runs);
  const memory = await broker();
  const result = await count.delay();
  const dead = new AbortController();
  const credit = { free: () => 1, whenFree: async () => undefined };
  for await (const _ of memory.consume(["celery"], { worker: "dead", credit, signal: dead.signal })) {
    dead.abort();
    break;
  }
  const stored = { taskId: result.id, state: "SUCCESS", document: '{"status": "SUCCESS", "result": 1}', expiresMs: undefined };
  await (await app.backend())?.store([stored]); // its first worker died between the two steps
  await memory.leases.renew("dead", 1);
  await clock.advance(2);
  const running = await start();
  await clock.advance(10_000);
  expect(runs).toBe(0);
  expect(await memory.depth(["celery"])).toMatchObject([{ ready: 0, onLoan: 0 }]);
  expect(running.status().onLoan).toBe(0);
  await stop(running);
});

test("a task whose lease is lost while its lock is being freed does not begin", async () => {
  const { app, clock, broker, start, stop } = room();
  let runs = 0;
  const single = app.task("shop.single", { unique: { until: "started" } }, () => void runs++);
  const running = await start();
  const memory = await broker();
  const step = memory.uniques.step.bind(memory.uniques);
  let answer = (): void => undefined;
  memory.uniques.step = async (...words) => {
    await new Promise<void>((resolve) => (answer = resolve));
    return await step(...words);
  };
  await single.delay();
  await clock.advance(0);
  expect(running.status()).toMatchObject({ running: 1, onLoan: 1 });
  const owner = (await memory.leases.list())[0]?.worker ?? "";
  await memory.leases.renew(owner, 1);
  await clock.advance(10);
  await memory.leases.sweep({ maxDeliveries: 5, leaseMs: 10_000, visibilityTimeoutMs: 1 });
  memory.uniques.step = step;
  await running.quiet(); // it is not to take the message again
  await clock.advance(4000); // under a new lease by now
  answer();
  await clock.advance(0);
  expect(runs).toBe(0);
  expect(running.status()).toMatchObject({ running: 0, onLoan: 0 });
  expect(await memory.depth(["celery"])).toMatchObject([{ ready: 1, onLoan: 0 }]);
  await stop(running);
});
