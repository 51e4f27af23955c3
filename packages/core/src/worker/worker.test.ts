import { expect, test } from "vitest";

import type { Lovage, LovageOptions } from "../app/app.ts";
import { currentTask } from "../app/process-wide.ts";
import type { MemoryBroker } from "../brokers/memory/index.ts";
import { SoftTimeLimitExceeded } from "../protocol/celery-errors.ts";
import { encodeTaskMessage } from "../protocol/task-message.ts";
import { sleep } from "../shared/clock.ts";
import type { LogFields, Logger } from "../shared/log.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { memoryApp } from "../testing/memory-app.ts";
import { WorkerStoppedError } from "./outcome.ts";
import type { WorkerOptions } from "./worker-options.ts";
import { Worker } from "./worker.ts";

interface Room {
  readonly app: Lovage;
  readonly clock: FakeClock;
  readonly log: string[];
  broker(): Promise<MemoryBroker>;
  worker(options?: WorkerOptions): Promise<Worker>;
  /** Lets a worker stop while the clock goes on. */
  stop(worker: Worker, how?: "warm" | "cold"): Promise<void>;
}

function room(options: LovageOptions = {}): Room {
  const clock = new FakeClock();
  const log: string[] = [];
  const note =
    (level: string) =>
    (_: LogFields, message: string): void =>
      void log.push(`${level} ${message}`);
  const logger: Logger = { debug: note("debug"), info: note("info"), warn: note("warn"), error: note("error"), child: () => logger };
  const app = memoryApp({ clock, logger, random: () => 0.5, ...options });
  return {
    app,
    clock,
    log,
    broker: async () => (await app.broker()) as MemoryBroker,
    async worker(workerOptions = {}) {
      const worker = new Worker(app, { name: "w@test", ...workerOptions });
      await worker.start();
      return worker;
    },
    async stop(worker, how) {
      const stopped = worker.stop(how);
      await clock.advance(30_000);
      await stopped;
    },
  };
}

async function document(app: Lovage, id: string): Promise<Record<string, unknown> | undefined> {
  const backend = await app.backend();
  const [text] = (await backend?.fetch([id])) ?? [];
  return text === undefined ? undefined : (JSON.parse(String(text)) as Record<string, unknown>);
}

test("a task runs, its result is stored, its message is gone", async () => {
  const { app, clock, broker, worker, stop } = room();
  const add = app.task("shop.add", (x: number, y: number) => x + y);
  const running = await worker();
  const result = await add.delay(2, 3);
  await clock.advance(0);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS", result: 5, traceback: null, children: [], task_id: result.id });
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ ready: 0, parked: 0, onLoan: 0, dead: 0 }]);
  expect(running.status()).toMatchObject({ state: "running", consuming: true, running: 0, onLoan: 0, processed: 1 });
  await stop(running);
  expect(running.status().state).toBe("stopped");
});

test("an error is stored with its type and traceback, and said at error level", async () => {
  const { app, clock, log, worker, stop } = room();
  const fails = app.task("shop.fails", () => {
    throw new TypeError("no such thing");
  });
  const running = await worker();
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
  const { app, clock, log, worker, stop } = room();
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
  const running = await worker();
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

test("a value that JSON cannot hold is a failure that says so", async () => {
  const { app, clock, worker, stop } = room();
  const circular = app.task("shop.circular", () => {
    const value: Record<string, unknown> = {};
    value["self"] = value;
    return value;
  });
  const running = await worker();
  const result = await circular.delay();
  await clock.advance(0);
  expect(await document(app, result.id)).toMatchObject({ status: "FAILURE", result: { exc_type: "ProtocolError" } });
  await stop(running);
});

// --- retry, ignore, reject -----------------------------------------------------------------------------------------------

test("ctx.retry publishes the task again with its id, one attempt more, and stores RETRY until then", async () => {
  const { app, clock, log, worker, stop } = room();
  const seen: unknown[] = [];
  const flaky = app.task({
    name: "shop.flaky",
    run(ctx, order: string) {
      seen.push([ctx.retries, ctx.id, ctx.parentId, order]);
      if (ctx.retries < 2) ctx.retry({ countdown: 5, error: new Error("try later") });
      return "at last";
    },
  });
  const running = await worker();
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
  const { app, clock, worker, stop } = room();
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
  const running = await worker();
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
  const { app, clock, worker, stop } = room();
  const own = app.task({ name: "shop.own", maxRetries: 0, run: (ctx) => ctx.retry({ error: new Error("mine") }) });
  const none = app.task({ name: "shop.none", maxRetries: 0, run: (ctx) => ctx.retry() });
  const running = await worker();
  const [first, second] = [await own.delay(), await none.delay()];
  await clock.advance(0);
  expect(await document(app, first.id)).toMatchObject({ status: "FAILURE", result: { exc_type: "Exception", exc_message: ["mine"] } });
  expect(await document(app, second.id)).toMatchObject({ status: "FAILURE", result: { exc_type: "MaxRetriesExceededError" } });
  await stop(running);
});

test("ignore stores nothing; reject goes to the dead letters with a failure, or back to the queue", async () => {
  const { app, clock, broker, worker, stop } = room();
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
  const running = await worker();
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

// --- what is stored -------------------------------------------------------------------------------------------------------

test("results are ignored as the message says, then the task, then the settings; errors may be kept all the same", async () => {
  const { app, clock, worker, stop } = room({ taskStoreErrorsEvenIfIgnored: true });
  const quiet = app.task({
    name: "shop.quiet",
    ignoreResult: true,
    run: (_ctx, fails: boolean) => (fails ? Promise.reject(new Error("loud")) : 1),
  });
  const running = await worker();
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
  const { app, clock, worker, stop } = room({ taskTrackStarted: true });
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
  const running = await worker();
  const backend = await app.backend();
  const taskId = "11111111-2222-4333-8444-555555555555";
  using _watch = await backend?.watch(taskId, (text) => void states.push(JSON.parse(String(text)).status));
  await report.applyAsync([], null, { taskId });
  while (states.at(-1) !== "SUCCESS") await clock.advance(10);
  expect(states).toEqual(["STARTED", "PROGRESS", "UPLOADING", "PROGRESS", "SUCCESS"]);
  await stop(running);
});

test("extended results, expiry, and children of a task that sends tasks", async () => {
  const { app, clock, worker, stop } = room({ resultExtended: true, resultExpires: "1h" });
  const child = app.task("shop.child", () => currentTask()?.parentId);
  const parent = app.task({ name: "shop.parent", run: async () => (await child.delay()).id });
  const running = await worker();
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

// --- when it runs ----------------------------------------------------------------------------------------------------------

test("an ETA that is near is waited for in memory without a slot, a far one is parked in the broker; both run on time", async () => {
  const { app, clock, broker, worker, stop } = room();
  const at: Record<string, number> = {};
  const note = app.task("shop.note", (name: string) => void (at[name] = clock.monotonic()));
  const running = await worker({ concurrency: 1 });
  await note.applyAsync(["near"], null, { countdown: 5 });
  await note.applyAsync(["far"], null, { countdown: 45 });
  await note.delay("now");
  await clock.advance(1000);
  expect(running.status()).toMatchObject({ scheduled: 1, onLoan: 0 });
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ ready: 0, parked: 1 }]);
  await clock.advance(60_000);
  expect(at["now"]).toBe(0);
  expect(at["near"]).toBe(5000);
  expect(at["far"]).toBeGreaterThanOrEqual(45_000);
  expect(at["far"]).toBeLessThan(45_200);
  await stop(running);
});

test("near ETAs beyond the limit are parked, so that memory is bounded", async () => {
  const { app, clock, broker, worker, stop } = room({ workerEtaTaskLimit: 3 });
  let ran = 0;
  const count = app.task("shop.count", () => void ran++);
  const running = await worker();
  for (let i = 0; i < 10; i++) await count.applyAsync([], null, { countdown: 5 });
  await clock.advance(1000);
  expect(running.status().scheduled).toBe(3);
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ parked: 7 }]);
  await clock.advance(5000);
  expect(ran).toBe(10);
  await stop(running);
});

test("a task that has expired is revoked and not run: on receipt, and when a slot comes too late", async () => {
  const { app, clock, log, worker, stop } = room();
  const ran: string[] = [];
  const slow = app.task("shop.slow", async (name: string) => {
    ran.push(name);
    await new Promise<void>((resolve) => void clock.timer(10_000, resolve));
  });
  const early = await slow.applyAsync(["before the start"], null, { expires: 1 });
  await clock.advance(1001);
  const running = await worker({ concurrency: 1 });
  await slow.delay("first");
  await clock.advance(0);
  const waits = await slow.applyAsync(["waits"], null, { expires: 5, countdown: 1 });
  await clock.advance(30_000);
  expect(ran).toEqual(["first"]);
  for (const { id } of [early, waits]) {
    expect(await document(app, id)).toMatchObject({
      status: "REVOKED",
      result: { exc_type: "TaskRevokedError", exc_message: ["expired"] },
    });
    expect(log).toContain(`info Discarding expired task: shop.slow[${id}]`);
  }
  await stop(running);
});

test("no more bodies run at once than there are slots, and no more messages are taken than can run", async () => {
  const { app, clock, broker, worker, stop } = room();
  let running = 0;
  let most = 0;
  const slow = app.task("shop.slow", async () => {
    most = Math.max(most, ++running);
    await new Promise<void>((resolve) => void clock.timer(1000, resolve));
    running--;
  });
  for (let i = 0; i < 10; i++) await slow.delay();
  const worker3 = await worker({ concurrency: 3 });
  await clock.advance(500);
  expect(worker3.status()).toMatchObject({ running: 3, waiting: 0, onLoan: 3 });
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ ready: 7 }]);
  await clock.advance(5000);
  expect(most).toBe(3);
  expect(worker3.status().processed).toBe(10);
  await stop(worker3);
});

test("early acks: the message is gone before the body begins", async () => {
  const { app, clock, broker, worker, stop } = room();
  const depths: unknown[] = [];
  const early = app.task({
    name: "shop.early",
    acksLate: false,
    async run() {
      depths.push((await (await broker()).depth(["celery"]))[0]);
      return "ran";
    },
  });
  const running = await worker();
  const result = await early.delay();
  await clock.advance(0);
  expect(depths).toMatchObject([{ ready: 0, onLoan: 0 }]);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS", result: "ran" });
  expect(running.status().onLoan).toBe(0);
  await stop(running);
});

test("a rate limit spaces the starts of its task, and holds up no other", async () => {
  const { app, clock, worker, stop } = room();
  const at: number[] = [];
  const limited = app.task("shop.limited", { rateLimit: "2/s" }, () => void at.push(clock.monotonic()));
  const free = app.task("shop.free", () => clock.monotonic());
  const running = await worker({ concurrency: 4 });
  for (let i = 0; i < 5; i++) await limited.delay();
  const other = await free.delay();
  await clock.advance(100);
  expect(await document(app, other.id)).toMatchObject({ status: "SUCCESS", result: 0 });
  await clock.advance(3000);
  expect(at).toEqual([0, 500, 1000, 1500, 2000]);
  expect(running.status().onLoan).toBe(0);
  await stop(running);
});

test("more messages of a slow task than there are slots hold up no other either, and all run in time", async () => {
  const { app, clock, broker, worker, stop } = room();
  const at: number[] = [];
  const limited = app.task("shop.limited", { rateLimit: "60/m" }, () => void at.push(clock.monotonic()));
  const free = app.task("shop.free", () => clock.monotonic());
  const running = await worker({ concurrency: 2 });
  for (let i = 0; i < 12; i++) await limited.delay();
  const other = await free.delay();
  await clock.advance(100);
  expect(await document(app, other.id)).toMatchObject({ status: "SUCCESS" });
  expect(running.status().onLoan).toBeLessThanOrEqual(2);
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ ready: 0, parked: 9 }]);
  await clock.advance(60_000);
  expect(at).toHaveLength(12);
  for (const [i, time] of at.entries()) if (i > 0) expect(time - (at[i - 1] as number)).toBeGreaterThanOrEqual(999);
  expect(at.at(-1)).toBeLessThan(20_000);
  await stop(running);
});

test("a rate that is changed while it runs holds at once, also for what waits", async () => {
  const { app, clock, worker, stop } = room();
  const at: number[] = [];
  const limited = app.task("shop.limited", { rateLimit: "1/m" }, () => void at.push(clock.monotonic()));
  const running = await worker({ concurrency: 4 });
  for (let i = 0; i < 5; i++) await limited.delay();
  const told = async (rate: string | null): Promise<unknown> => {
    const replies = app.control.rateLimit("shop.limited", rate, { reply: true, limit: 1 });
    await clock.advance(0);
    return (await replies)[0]?.value;
  };
  await clock.advance(100);
  expect(await told("4/s")).toEqual({ ok: "new rate limit set successfully" });
  await clock.advance(499);
  expect(at).toEqual([0, 100, 350]);
  expect(await told(null)).toEqual({ ok: "rate limit disabled successfully" });
  await clock.advance(0);
  expect(at).toEqual([0, 100, 350, 599, 599]);
  expect(() => app.control.rateLimit("shop.limited", "soon")).toThrow('is "soon": it takes a number per second');
  const answers = async (args: object): Promise<unknown> => {
    const replies = app.control.broadcast("rate_limit", { ...args }, { reply: true, limit: 1 });
    await clock.advance(0);
    return (await replies)[0]?.value;
  };
  expect(await answers({ task_name: "shop.unknown", rate_limit: "1/s" })).toEqual({ error: "unknown task" });
  expect(await answers({ task_name: "shop.limited", rate_limit: "1/d" })).toEqual({
    error: "Invalid rate limit string: ValueError('1/d')",
  });
  await stop(running);
});

test("a redelivered message whose task has succeeded is not run again when that is asked for", async () => {
  const { app, clock, broker, worker, stop } = room({ workerDeduplicateSuccessfulTasks: true });
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
  const running = await worker();
  await clock.advance(10_000);
  expect(runs).toBe(0);
  expect(await memory.depth(["celery"])).toMatchObject([{ ready: 0, onLoan: 0 }]);
  expect(running.status().onLoan).toBe(0);
  await stop(running);
});

test("a worker has a queue of its own when that is asked for", async () => {
  const { app, clock, worker, stop } = room({ workerDirect: true });
  app.task("shop.here", () => "here");
  const running = await worker();
  const result = await app.sendTask("shop.here", [], null, { queue: "w@test.dq2" });
  await clock.advance(0);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS", result: "here" });
  await stop(running);
});

test("an observer that throws disturbs nobody", async () => {
  const { app, clock, log, worker, stop } = room();
  const add = app.task("shop.add", () => 1);
  const ended: string[] = [];
  const bad = {
    ended: () => {
      throw new Error("observer");
    },
  };
  const running = await worker({ observers: [bad, { ended: (_, outcome) => ended.push(outcome.kind) }] });
  await add.delay();
  await clock.advance(0);
  expect(ended).toEqual(["succeeded"]);
  expect(log).toContain("error an observer of tasks failed: observer");
  await stop(running);
});

test("a task that is defined wrongly after the start is kept for later, and the worker goes on", async () => {
  const { app, clock, broker, log, worker, stop } = room();
  const fine = app.task("shop.fine", () => "fine");
  const running = await worker();
  const options = { retry: { maxRetries: 1 }, retryBackoff: true };
  app.task("shop.wrong", options, () => 0);
  const wrong = "11111111-2222-4333-8444-666666666666";
  const message = encodeTaskMessage({ id: wrong, task: "shop.wrong", args: [], kwargs: {} }, { serializer: "json", now: clock.now() });
  await (await broker()).publish([{ message, exchange: "", routingKey: "celery" }]);
  const result = await fine.delay();
  await clock.advance(100);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS" });
  expect(log.some((line) => line.includes(`shop.wrong[${wrong}] cannot be run as it is defined`))).toBe(true);
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ parked: 1, onLoan: 0, dead: 0 }]);
  await stop(running);
});

test("early acks: a message that is another worker's by then is not run", async () => {
  const { app, clock, broker, worker, stop } = room();
  let runs = 0;
  const early = app.task("shop.early", { acksLate: false }, () => void runs++);
  const running = await worker();
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
  const { app, clock, broker, worker, stop } = room();
  const at: number[] = [];
  const note = app.task("shop.note", () => void at.push(clock.monotonic()));
  const running = await worker();
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

// --- limits -----------------------------------------------------------------------------------------------------------------

test("the soft limit aborts the signal; a task that heeds it can still succeed", async () => {
  const { app, clock, log, worker, stop } = room();
  const tidy = app.task({
    name: "shop.tidy",
    softTimeLimit: 2,
    run: (ctx) =>
      new Promise((resolve) => ctx.signal.addEventListener("abort", () => resolve(ctx.signal.reason instanceof SoftTimeLimitExceeded))),
  });
  const running = await worker();
  const result = await tidy.delay();
  await clock.advance(2000);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS", result: true });
  expect(log).toContain(`warn Soft time limit (2s) exceeded for shop.tidy[${result.id}]`);
  await stop(running);
  expect(clock.pendingTimers).toBe(0);
});

test("at the hard limit a task that waits is recorded and its slot is free; what it does later counts for nothing", async () => {
  const { app, clock, worker, stop } = room();
  const stuck = app.task("shop.stuck", { timeLimit: 3 }, async () => {
    await new Promise<void>((resolve) => void clock.timer(10_000, resolve));
    return "too late";
  });
  const running = await worker({ concurrency: 1 });
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

// --- what cannot be run ----------------------------------------------------------------------------------------------------

test("an unknown task is put aside again and again, and dead-lettered with NotRegistered after its time; it is never discarded", async () => {
  const { app, clock, broker, log, worker, stop } = room();
  const running = await worker();
  const result = await app.sendTask("shop.gone", [1]);
  await clock.advance(60_000);
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ ready: 0, parked: 1, onLoan: 0, dead: 0 }]);
  expect(await document(app, result.id)).toBeUndefined();
  expect(log.filter((line) => line.includes("unregistered"))).toHaveLength(1);
  await clock.advance(600_000);
  expect(await document(app, result.id)).toMatchObject({
    status: "FAILURE",
    result: { exc_type: "NotRegistered", exc_message: ["shop.gone"], exc_module: "celery.exceptions" },
  });
  const { entries } = await (await broker()).deadLetters.page("celery", { limit: 10 });
  expect(entries).toMatchObject([{ id: result.id, task: "shop.gone", reason: "unknownTask" }]);
  expect(running.status().onLoan).toBe(0);
  await stop(running);
});

test("a task that becomes known while it is put aside runs", async () => {
  const { app, clock, worker, stop } = room();
  const running = await worker();
  const result = await app.sendTask("shop.soon", []);
  await clock.advance(3000);
  app.task("shop.soon", () => "known now");
  await clock.advance(10_000);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS", result: "known now" });
  await stop(running);
});

test("what cannot be decoded goes to the dead letters, byte for byte, and the worker goes on", async () => {
  const { app, clock, broker, worker, stop } = room();
  const ok = app.task("shop.ok", () => "ok");
  const running = await worker();
  const memory = await broker();
  memory.inject("celery", "{ this is no envelope");
  memory.inject("celery", new Uint8Array([0xff, 0x00]));
  memory.inject("celery", '{"body": "W10=", "headers": {"task": "shop.ok", "id": 7}, "properties": {}}');
  const result = await ok.delay();
  await clock.advance(100);
  const { entries } = await memory.deadLetters.page("celery", { limit: 10 });
  expect(entries.map((entry) => [entry.reason, entry.raw])).toEqual([
    ["undecodable", '{"body": "W10=", "headers": {"task": "shop.ok", "id": 7}, "properties": {}}'],
    ["undecodable", new Uint8Array([0xff, 0x00])],
    ["undecodable", "{ this is no envelope"],
  ]);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS" });
  expect(running.status()).toMatchObject({ onLoan: 0, waiting: 0, running: 0 });
  await stop(running);
});

test("a message whose arguments cannot be read is dead-lettered, and whoever waits for it is told", async () => {
  const { app, clock, broker, worker, stop } = room();
  const ok = app.task("shop.ok", () => "ok");
  const running = await worker();
  const result = await ok.applyAsync([], null, { serializer: "yaml" }); // only json is accepted here
  await clock.advance(100);
  expect(await document(app, result.id)).toMatchObject({ status: "FAILURE", result: { exc_type: "ProtocolError" } });
  expect((await (await broker()).deadLetters.page("celery", { limit: 10 })).entries).toMatchObject([
    { id: result.id, reason: "undecodable" },
  ]);
  await stop(running);
});

test("messages that were lost with a worker before run one at a time, beside others", async () => {
  const { app, clock, broker, worker, stop } = room();
  let suspects = 0;
  let most = 0;
  const work = app.task("shop.work", async (isSuspect: boolean) => {
    if (isSuspect) most = Math.max(most, ++suspects);
    await new Promise<void>((resolve) => void clock.timer(1000, resolve));
    if (isSuspect) suspects--;
  });
  for (let i = 0; i < 4; i++) await work.delay(true);
  const memory = await broker();
  const dead = new AbortController();
  const credit = { free: () => 4, whenFree: async () => undefined };
  for await (const batch of memory.consume(["celery"], { worker: "dead", credit, signal: dead.signal })) {
    expect(batch).toHaveLength(4);
    dead.abort(); // its loans stay: it is not told to give them back
    break;
  }
  await memory.leases.renew("dead", 1000);
  await clock.advance(1001);
  const running = await worker();
  await clock.advance(5000); // a sweep returns them
  for (let i = 0; i < 4; i++) await work.delay(false);
  await clock.advance(10_000);
  expect(running.status().processed).toBe(8);
  expect(most).toBe(1);
  await stop(running);
});

// --- hooks and contexts ------------------------------------------------------------------------------------------------------

test("hooks run in Celery's order, with the result stored and the message not acknowledged yet", async () => {
  const { app, clock, broker, worker, stop } = room();
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
  const running = await worker();
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
  const { app, clock, log, worker, stop } = room();
  const hooked = app.task("shop.hooked", { onSuccess: () => Promise.reject(new Error("hook")) }, () => "fine");
  const running = await worker();
  const result = await hooked.delay();
  await clock.advance(100);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS" });
  expect(log).toContain(`error a hook of the task shop.hooked[${result.id}] failed: hook`);
  expect(running.status().onLoan).toBe(0);
  await stop(running);
});

// --- revoke ------------------------------------------------------------------------------------------------------------------

/** A task that ends when its signal aborts, and one that never heeds it. */
function tasksForRevoking(app: ReturnType<typeof room>["app"]) {
  return {
    heeds: app.task({
      name: "shop.heeds",
      run: (ctx) => new Promise((_, reject) => ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason as Error))),
    }),
    ignores: app.task("shop.ignores", () => new Promise<void>(() => undefined)),
    slow: app.task("shop.slow", async (ms: number) => void (await sleep(app.clock, ms))),
  };
}

test("a revoked task does not start, whatever it waits for; one that runs has its signal aborted", async () => {
  const { app, clock, worker, stop } = room();
  const { heeds, slow } = tasksForRevoking(app);
  const running = await worker({ concurrency: 2 });
  const runs = await heeds.delay();
  const goesOn = await slow.delay(5000);
  const queued = await heeds.delay(); // every slot is busy
  const later = await heeds.applyAsync([], null, { countdown: 5 });
  const far = await heeds.applyAsync([], null, { countdown: 60 });
  await clock.advance(100);
  for (const { id } of [runs, goesOn, queued, later, far]) running.revoke(id);
  await clock.advance(100);
  for (const { id } of [runs, queued, later])
    expect(await document(app, id)).toMatchObject({ status: "REVOKED", result: { exc_message: ["revoked"] } });
  expect(running.status()).toMatchObject({ running: 1, waiting: 0, scheduled: 0 });
  await clock.advance(70_000);
  expect(await document(app, goesOn.id)).toMatchObject({ status: "SUCCESS" }); // it did not mind its signal, and was not made to
  expect(await document(app, far.id)).toMatchObject({ status: "REVOKED" }); // parked meanwhile
  expect(running.status()).toMatchObject({ running: 0, onLoan: 0 });
  await stop(running);
});

test("a task that is terminated has a moment to heed its signal; then its slot is free, whatever it does", async () => {
  const { app, clock, worker, stop } = room();
  const { heeds, ignores } = tasksForRevoking(app);
  const running = await worker({ concurrency: 2 });
  const [polite, stubborn, next] = [await heeds.delay(), await ignores.delay(), await ignores.delay()];
  await clock.advance(100);
  for (const { id } of [polite, stubborn]) running.revoke(id, { terminate: true });
  await clock.advance(10);
  expect(await document(app, polite.id)).toMatchObject({ status: "REVOKED", result: { exc_message: ["terminated"] } });
  expect(running.status().running).toBe(2); // the stubborn one, and the one that had waited
  await clock.advance(2000);
  expect(await document(app, stubborn.id)).toMatchObject({ status: "REVOKED", result: { exc_message: ["terminated"] } });
  expect(running.status().running).toBe(1);
  running.revoke(next.id, { terminate: true });
  await clock.advance(2000);
  await stop(running);
});

test("a task that was revoked while no worker was there does not run, and its result says so at once", async () => {
  const { app, clock, worker, stop } = room();
  const { heeds } = tasksForRevoking(app);
  const [one, other] = [await heeds.delay(), await heeds.delay()];
  await app.revoke([one.id]);
  await expect(one.get()).rejects.toMatchObject({ name: "TaskRevokedError" });
  const running = await worker();
  await clock.advance(100);
  expect(running.status()).toMatchObject({ running: 1 });
  running.revoke(other.id);
  await clock.advance(100);
  expect(running.status()).toMatchObject({ running: 0, processed: 1 });
  await stop(running);
  const successor = await worker(); // knows it from the broker
  await heeds.applyAsync([], null, { taskId: one.id });
  await clock.advance(100);
  expect(successor.status()).toMatchObject({ running: 0, processed: 0, onLoan: 0 });
  await stop(successor);
});

test("a task that is revoked while its early ack is on the way does not run", async () => {
  const { app, clock, broker, worker, stop } = room();
  let ran = 0;
  const early = app.task("shop.early", { acksLate: false }, () => void (ran += 1));
  const running = await worker();
  const memory = await broker();
  const settle = memory.settle.bind(memory);
  memory.settle = async (...words) => {
    running.revoke("t1");
    return await settle(...words);
  };
  await early.applyAsync([], null, { taskId: "t1" });
  await clock.advance(100);
  expect(ran).toBe(0);
  expect(await document(app, "t1")).toMatchObject({ status: "REVOKED", result: { exc_message: ["revoked"] } });
  expect(running.status()).toMatchObject({ running: 0, onLoan: 0 });
  await stop(running);
});

test("a revoked task that asks for a retry is not run again", async () => {
  const { app, clock, worker, stop } = room();
  let runs = 0;
  const stubborn = app.task({
    name: "shop.stubborn",
    async run(ctx) {
      runs += 1;
      await sleep(app.clock, 1000);
      ctx.retry({ countdown: 1 });
    },
  });
  const running = await worker();
  const sent = await stubborn.delay();
  await clock.advance(500);
  await app.revoke([sent.id]);
  await clock.advance(10_000);
  expect(runs).toBe(1);
  expect(await document(app, sent.id)).toMatchObject({ status: "REVOKED" });
  await stop(running);
});

test("a worker that has room for few revoked tasks asks the broker for the others", async () => {
  const { app, clock, worker, stop } = room({ workerRevokesMax: 3 });
  const { slow } = tasksForRevoking(app);
  const sent = await Promise.all(Array.from({ length: 8 }, () => slow.delay(1)));
  await app.revoke(sent.slice(0, 7).map(({ id }) => id));
  const running = await worker();
  await clock.advance(1000);
  const states = await Promise.all(sent.map(async ({ id }) => ((await document(app, id)) as { status: string }).status));
  expect(states).toEqual([...Array.from({ length: 7 }, () => "REVOKED"), "SUCCESS"]);
  expect(running.status()).toMatchObject({ processed: 1, onLoan: 0 });
  await stop(running);
});

// --- the lease ----------------------------------------------------------------------------------------------------------------

test("a worker whose lease was lost tells its tasks, keeps nothing of them, and goes on under a new lease", async () => {
  const { app, clock, broker, log, worker, stop } = room();
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
  const running = await worker();
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

// --- stop -----------------------------------------------------------------------------------------------------------------------

test("a warm stop takes nothing more, waits for what runs, gives back what waits, and releases the lease", async () => {
  const { app, clock, broker, worker } = room({ workerPrefetchMultiplier: 3 });
  const ran: string[] = [];
  const slow = app.task("shop.slow", async (name: string) => {
    await new Promise<void>((resolve) => void clock.timer(5000, resolve));
    ran.push(name);
  });
  await slow.applyAsync(["later"], null, { countdown: 9 });
  for (const name of ["a", "b", "c"]) await slow.delay(name);
  const running = await worker({ concurrency: 1 });
  await clock.advance(100);
  expect(running.status()).toMatchObject({ running: 1, waiting: 2, scheduled: 1 });
  const stopped = running.stop();
  await clock.advance(0);
  const memory = await broker();
  expect(running.status().state).toBe("warm");
  expect(await memory.depth(["celery"])).toMatchObject([{ ready: 3, onLoan: 1 }]);
  await slow.delay("d");
  await clock.advance(5000);
  await stopped;
  await running.finished;
  expect(ran).toEqual(["a"]);
  expect(await memory.depth(["celery"])).toMatchObject([{ ready: 4, onLoan: 0 }]);
  expect(await memory.leases.list()).toEqual([]);
  expect(clock.pendingTimers).toBe(0);
  const second = await worker({ concurrency: 1 });
  await clock.advance(40_000);
  expect(ran).toEqual(["a", "b", "c", "d", "later"]); // in the order in which they were before
  const end = second.stop();
  await clock.advance(0);
  await end;
});

test("after its grace a stop aborts what runs; what heeds that is done or goes back, and so does what does not", async () => {
  const { app, clock, broker, worker } = room({ shutdownGrace: 10 });
  const outcomes: string[] = [];
  const saves = app.task({
    name: "shop.saves",
    run: (ctx) => new Promise((resolve) => ctx.signal.addEventListener("abort", () => resolve("saved in time"))),
  });
  const gives = app.task({
    name: "shop.gives",
    run: (ctx) =>
      new Promise((_, reject) =>
        ctx.signal.addEventListener("abort", () => {
          outcomes.push(ctx.signal.reason instanceof WorkerStoppedError ? "told" : "not told");
          reject(ctx.signal.reason as Error);
        }),
      ),
  });
  const deaf = app.task("shop.deaf", () => new Promise(() => undefined));
  const deafEarly = app.task("shop.deafEarly", { acksLate: false }, () => new Promise(() => undefined));
  const running = await worker();
  const results = [await saves.delay(), await gives.delay(), await deaf.delay(), await deafEarly.delay()];
  await clock.advance(100);
  const stopped = running.stop();
  await clock.advance(9999);
  expect(running.status().state).toBe("warm");
  await clock.advance(1);
  expect(running.status().state).toBe("cold");
  await clock.advance(2000);
  await stopped;
  expect(outcomes).toEqual(["told"]);
  const documents = await Promise.all(results.map((result) => document(app, result.id)));
  expect(documents).toMatchObject([
    { status: "SUCCESS", result: "saved in time" },
    undefined,
    undefined,
    { status: "FAILURE", result: { exc_type: "WorkerLostError" } },
  ]);
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ ready: 2, onLoan: 0 }]);
});

test("a second stop does not wait for the grace", async () => {
  const { app, clock, broker, worker } = room();
  const waits = app.task({
    name: "shop.waits",
    run: (ctx) => new Promise((_, reject) => ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason as Error))),
  });
  const running = await worker();
  await waits.delay();
  await clock.advance(100);
  void running.stop();
  await clock.advance(1000);
  expect(running.status().running).toBe(1);
  const stopped = running.stop();
  await clock.advance(0);
  await stopped;
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ ready: 1, onLoan: 0 }]);
});

/** Runs until its signal aborts, and then goes back. */
function waitsForItsSignal(app: Lovage, name = "shop.waits") {
  return app.task({
    name,
    run: (ctx) => new Promise((_, reject) => ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason as Error))),
  });
}

test("a soft stop waits for as long as Celery's setting says, and a second one in a warm stop leads there", async () => {
  const { app, clock, worker } = room({ workerSoftShutdownTimeout: 3, shutdownGrace: 20 });
  const waits = waitsForItsSignal(app);
  for (const first of ["soft", "warm"] as const) {
    const states: string[] = [];
    const running = await worker({ onState: (state) => states.push(state) });
    await waits.delay();
    await clock.advance(100);
    const stopped = running.stop(first);
    if (first === "warm") void running.stop();
    await clock.advance(2999);
    expect(running.status()).toMatchObject({ state: "soft", running: 1 });
    await clock.advance(1);
    await stopped;
    expect(states).toEqual(["starting", "running", ...(first === "warm" ? ["warm"] : []), "soft", "cold", "stopped"]);
    await (await app.broker()).purge("celery");
  }
});

test("what hurries a stop never makes it longer: a soft one ends with the grace of the warm one before", async () => {
  const { app, clock, worker } = room({ workerSoftShutdownTimeout: 60, shutdownGrace: 10 });
  const running = await worker();
  await waitsForItsSignal(app).delay();
  await clock.advance(100);
  const stopped = running.stop();
  await clock.advance(9000);
  void running.stop("soft");
  await clock.advance(999);
  expect(running.status().state).toBe("soft");
  await clock.advance(1);
  await stopped;
});

test("without Celery's setting a soft stop is a cold one, and with its other one it waits although nothing runs", async () => {
  const { clock, worker } = room();
  const cold = await worker();
  const stopped = cold.stop("soft");
  expect(cold.status().state).toBe("cold");
  await clock.advance(0);
  await stopped;
  const idle = room({ workerSoftShutdownTimeout: 5, workerEnableSoftShutdownOnIdle: true });
  const waiting = await idle.worker();
  const end = waiting.stop("soft");
  await idle.clock.advance(4999);
  expect(waiting.status().state).toBe("soft");
  await idle.clock.advance(1);
  await end;
});

// --- quiet ----------------------------------------------------------------------------------------------------------------------

test("a quiet worker takes nothing and gives back what waits, what runs goes on; resumed, it takes again", async () => {
  const { app, clock, broker, worker, stop } = room({ workerPrefetchMultiplier: 3 });
  const ran: string[] = [];
  const slow = app.task("shop.slow", async (name: string) => {
    await new Promise<void>((resolve) => void clock.timer(1000, resolve));
    ran.push(name);
  });
  await slow.applyAsync(["later"], null, { countdown: 9 });
  for (const name of ["a", "b", "c"]) await slow.delay(name);
  const running = await worker({ concurrency: 1 });
  await clock.advance(100);
  expect(running.status()).toMatchObject({ running: 1, waiting: 2, scheduled: 1 });
  const quiet = running.quiet();
  await clock.advance(0);
  await quiet;
  const memory = await broker();
  expect(running.status()).toMatchObject({ state: "quiet", consuming: false, running: 1, waiting: 0, scheduled: 0 });
  expect(await memory.depth(["celery"])).toMatchObject([{ ready: 3, onLoan: 1 }]);
  await slow.delay("d");
  await clock.advance(60_000);
  expect(ran).toEqual(["a"]);
  expect(running.status()).toMatchObject({ state: "quiet", running: 0, onLoan: 0 });
  expect(await memory.leases.list()).toHaveLength(1); // it lives
  const resumed = running.resume();
  await clock.advance(0);
  await resumed;
  expect(running.status()).toMatchObject({ state: "running", consuming: true });
  await clock.advance(10_000);
  expect(ran.toSorted()).toEqual(["a", "b", "c", "d", "later"]);
  await stop(running);
  expect(clock.pendingTimers).toBe(0);
});

test("a worker can start quiet, be made quiet again and again, and stop while it is", async () => {
  const { app, clock, broker, worker } = room();
  let ran = 0;
  const count = app.task("shop.count", () => void ran++);
  await count.delay();
  const running = await worker({ quiet: true });
  expect(running.status()).toMatchObject({ state: "quiet", consuming: false });
  for (let round = 0; round < 3; round++) {
    void running.resume();
    void running.quiet();
  }
  await clock.advance(1000);
  expect(running.status().state).toBe("quiet");
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ ready: 1 - ran, onLoan: 0 }]);
  const stopped = running.stop();
  await clock.advance(0);
  await stopped;
  await running.quiet();
  await running.resume(); // nothing to resume
  expect(running.status().state).toBe("stopped");
  expect(clock.pendingTimers).toBe(0);
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
  const { app, worker, stop } = room({ taskQueues: ["celery", "images"] });
  app.task("shop.add", () => 0);
  const running = await worker({ concurrency: 7 });
  const lines = running.banner("1.2.3");
  expect(lines).toContain("w@test lovage v1.2.3");
  expect(lines).toContain("  concurrency: 7 (async)");
  expect(lines).toContain("  celery  exchange=celery(direct) key=celery");
  expect(lines).toContain("  . shop.add");
  await stop(running);
});

test("a thousand tasks settle in few steps, none is lost, and nothing is left", async () => {
  const { app, clock, broker, worker, stop } = room();
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
  const running = await worker();
  while (seen.size < 1000) await clock.advance(0);
  await clock.advance(0);
  expect(settles).toBeLessThan(50);
  expect(running.status()).toMatchObject({ processed: 1000, onLoan: 0, running: 0, waiting: 0 });
  await stop(running);
  expect(clock.pendingTimers).toBe(0);
});
