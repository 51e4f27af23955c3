/** What callers see of results, on a store in memory. */
import { expect, test } from "vitest";
import { runningTask } from "../../test/support/running-task.ts";
import { encodeResult, type ResultDocument } from "../protocol/result.ts";
import { RemoteTaskError } from "../protocol/exception.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { memoryApp } from "../testing/memory-app.ts";
import type { Lovage } from "./app.ts";
import { ResultsDisabledError, ResultTimeoutError, WaitInsideTaskError } from "./errors.ts";
import { GroupResult } from "./group-result.ts";
import { runAsTask } from "./process-wide.ts";
import { RunningTask } from "./running-task.ts";
import type { TaskRequest } from "./task-context.ts";
import type { AnyTask } from "./task.ts";

async function store(app: Lovage, document: Partial<ResultDocument> & { readonly taskId: string; readonly state: string }): Promise<void> {
  const whole: ResultDocument = { result: null, error: undefined, traceback: null, children: [], dateDoneAt: null, ...document };
  const backend = await app.backend();
  await backend?.store([
    { taskId: whole.taskId, state: whole.state, document: encodeResult(whole, { serializer: "json" }), expiresMs: undefined },
  ]);
}

test("progress is stored, merged when it comes faster than the store takes it", async () => {
  await using app = memoryApp();
  const task = app.task("t", () => {}) as unknown as AnyTask;
  const stored: unknown[] = [];
  let release = (): void => {};
  const ctx = new RunningTask({ id: "id-1", task: "t" } as TaskRequest, {
    app,
    options: task.options,
    clock: app.clock,
    random: () => 0,
    signal: () => new AbortController().signal,
    storeState: (state, meta) => {
      stored.push([state, meta]);
      return new Promise((resolve) => void (release = resolve));
    },
  });
  const all = [ctx.progress(1, 10), ctx.progress(2, 10), ctx.progress(3, 10, { note: "x" })];
  release();
  await new Promise((resolve) => setImmediate(resolve));
  release();
  await Promise.all(all);
  expect(stored).toEqual([["PROGRESS", { current: 1, total: 10 }], ["PROGRESS", { current: 3, total: 10, note: "x" }]]); // prettier-ignore
});

test("get() waits for the document that is ready, and tells of those before", async () => {
  await using app = memoryApp();
  const states: string[] = [];
  const value = app.result<number>("id-1").get({ onMessage: (document) => states.push(document.state) });
  await store(app, { taskId: "id-1", state: "STARTED" });
  await store(app, { taskId: "id-1", state: "PROGRESS", result: { current: 1 } });
  await store(app, { taskId: "id-1", state: "SUCCESS", result: 5 });
  expect(await value).toBe(5);
  expect(states.at(-1)).toBe("SUCCESS");
  expect(await app.result("id-1").get()).toBe(5);
});

test("any number may wait with one signal, and Node warns of nothing", async () => {
  await using app = memoryApp();
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on("warning", onWarning);
  try {
    const request = new AbortController();
    const { signal } = request;
    const waiting = Array.from({ length: 12 }, (_, index) => [
      app.result(`id-${index}`).get({ signal }),
      new GroupResult(app, `group-${index}`, [app.result(`member-${index}`)]).get({ signal }),
    ]).flat();
    await new Promise((resolve) => setImmediate(resolve)); // warnings come in the next tick
    request.abort(new Error("the client has gone"));
    for (const outcome of await Promise.allSettled(waiting)) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { message: "the client has gone" } });
    }
    expect(warnings).toEqual([]);
  } finally {
    process.removeListener("warning", onWarning);
  }
});

test("get() throws the task's error, or returns it when asked", async () => {
  await using app = memoryApp();
  await store(app, {
    taskId: "id-1",
    state: "FAILURE",
    error: { type: "KeyError", module: "builtins", args: ["k"] },
    traceback: "Traceback",
  });
  await expect(app.result("id-1").get()).rejects.toBeInstanceOf(RemoteTaskError);
  expect(await app.result("id-1").get({ propagate: false })).toMatchObject({ wire: { type: "KeyError", args: ["k"] } });
  expect(await app.result("id-1").traceback()).toBe("Traceback");
});

test("get() never outlives its timeout, and says what it knows", async () => {
  const clock = new FakeClock();
  await using app = memoryApp({ clock });
  const never = app.result("never").get({ timeout: "2s" });
  const started = app.result("started").get();
  await store(app, { taskId: "started", state: "STARTED" });
  await clock.advance(2000);
  await expect(never).rejects.toBeInstanceOf(ResultTimeoutError);
  await expect(never).rejects.toThrow("no result of task never after 2000 ms; its state is PENDING");
  await clock.advance(298_000);
  await expect(started).rejects.toMatchObject({ code: "RESULT_TIMEOUT", state: "STARTED", timeoutMs: 300_000 });
  expect(clock.pendingTimers).toBe(0);
});

test("get() ends with its signal's reason, also when that was aborted before", async () => {
  const clock = new FakeClock();
  await using app = memoryApp({ clock });
  const stop = new AbortController();
  const value = app.result("never").get({ signal: stop.signal });
  stop.abort(new Error("enough"));
  await expect(value).rejects.toThrow("enough");
  await expect(app.result("never").get({ signal: stop.signal })).rejects.toThrow("enough");
  expect(clock.pendingTimers).toBe(0);
});

test("a rejected get() that nobody awaits does no harm", async () => {
  const seen: unknown[] = [];
  const listen = (reason: unknown): void => void seen.push(reason);
  process.on("unhandledRejection", listen);
  await using app = memoryApp();
  await store(app, { taskId: "id-1", state: "FAILURE" });
  void app.result("id-1").get();
  await expect(app.result("id-1").get()).rejects.toThrow();
  await new Promise((resolve) => setImmediate(resolve)); // Node tells of rejections when the turn is over
  process.off("unhandledRejection", listen);
  expect(seen).toEqual([]);
});

test("ten thousand waits share what they can", async () => {
  await using app = memoryApp();
  const ids = Array.from({ length: 10_000 }, (_, index) => `id-${index}`);
  const values = ids.map((id) => app.result<string>(id).get({ timeout: "30s" }));
  const backend = await app.backend();
  await backend?.store(
    ids.map((id) => ({
      taskId: id,
      state: "SUCCESS",
      document: encodeResult(
        { taskId: id, state: "SUCCESS", result: id, error: undefined, traceback: null, children: [], dateDoneAt: 1 },
        { serializer: "json" },
      ),
      expiresMs: undefined,
    })),
  );
  expect(await Promise.all(values)).toEqual(ids);
});

test("the questions about a result", async () => {
  await using app = memoryApp();
  const result = app.result("id-1");
  expect([await result.state(), await result.ready(), await result.info(), await result.result()]).toEqual([
    "PENDING",
    false,
    undefined,
    undefined,
  ]);
  await store(app, { taskId: "id-1", state: "PROGRESS", result: { current: 1 } });
  expect([await result.state(), await result.ready(), await result.result()]).toEqual(["PROGRESS", false, { current: 1 }]);
  await store(app, {
    taskId: "id-1",
    state: "SUCCESS",
    result: [1],
    dateDoneAt: 5,
    children: [
      [["c-1", "id-1"], null],
      [["g", null], []],
    ],
  });
  expect([await result.ready(), await result.successful(), await result.failed(), await result.result(), await result.dateDone()]).toEqual([
    true,
    true,
    false,
    [1],
    new Date(5),
  ]);
  expect((await result.children()).map((child) => child.id)).toEqual(["c-1", "g"]);
  await result.forget();
  expect(await result.state()).toBe("PENDING");
  expect(String(result)).toBe("id-1");
  expect(JSON.stringify({ result })).toBe('{"result":"id-1"}');
});

test("reads of one turn are one round trip", async () => {
  await using app = memoryApp();
  const backend = await app.backend();
  let fetches = 0;
  const fetch = backend?.fetch.bind(backend);
  if (backend && fetch) backend.fetch = (ids) => (fetches++, fetch(ids));
  await Promise.all(Array.from({ length: 50 }, (_, index) => app.result(String(index)).state()));
  expect(fetches).toBe(1);
});

test("without a result backend there is nothing to wait for, and the error says what to set", async () => {
  await using app = memoryApp({ resultBackend: null });
  const result = await app.sendTask("t");
  await expect(result.get()).rejects.toBeInstanceOf(ResultsDisabledError);
  await expect(result.state()).rejects.toThrow("CELERY_RESULT_BACKEND");
});

test("waiting inside of a task is refused unless it is asked for", async () => {
  await using app = memoryApp();
  const task = app.task("t", () => {}) as unknown as AnyTask;
  await store(app, { taskId: "other", state: "SUCCESS", result: 1 });
  await runAsTask(runningTask(app, task), async () => {
    await expect(app.result("other").get()).rejects.toBeInstanceOf(WaitInsideTaskError);
    expect(await app.result("other").get({ disableSyncSubtasks: false })).toBe(1);
  });
});

test("revoke() asks all workers by Celery's remote control", async () => {
  await using app = memoryApp();
  const broker = await app.broker();
  const stop = new AbortController();
  const heard = (async () => {
    for await (const message of broker.broadcast?.subscribe("celery.pidbox", "#", stop.signal) ?? [])
      return JSON.parse(Buffer.from(message.body).toString()) as unknown;
    return undefined;
  })();
  await new Promise((resolve) => setImmediate(resolve));
  await app.result("id-1").revoke({ terminate: true });
  expect(await heard).toMatchObject({
    method: "revoke",
    arguments: { task_id: "id-1", terminate: true, signal: "SIGTERM" },
    destination: null,
  });
  stop.abort();
});
