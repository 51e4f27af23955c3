/** What an app sends, and what it is. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runInNewContext } from "node:vm";
import { afterEach, expect, test } from "vitest";
import { runningTask } from "../../test/support/running-task.ts";
import { contentTypesFor } from "../protocol/serializers.ts";
import { readTaskMessage, type ReceivedTask } from "../protocol/task-message.ts";
import { ProtocolError } from "../protocol/errors.ts";
import { silentLogger, type LogFields, type Logger } from "../shared/log.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { memoryApp } from "../testing/memory-app.ts";
import { isLovage, Lovage } from "./app.ts";
import { AsyncResult } from "./async-result.ts";
import { AppClosedError, CallError, ConfigurationError, PayloadTooLargeError, TaskDefinitionError } from "./errors.ts";
import { currentApp, currentTask, processWide, runAsTask } from "./process-wide.ts";
import { sharedTask } from "./shared-task.ts";
import { taskLogger } from "./task-logger.ts";
import type { AnyTask } from "./task.ts";

afterEach(() => processWide.sharedTasks.clear());

const accept = contentTypesFor(["json", "yaml", "msgpack"]);

/** Everything that waits in the queues, in order of arrival. */
async function taken(app: Lovage, ...queues: string[]): Promise<(ReceivedTask & { readonly queue: string })[]> {
  const broker = await app.broker();
  const total = (await broker.depth(queues)).reduce((sum, { ready }) => sum + ready, 0);
  const stop = new AbortController();
  const tasks: (ReceivedTask & { readonly queue: string })[] = [];
  if (total === 0) return tasks;
  const credit = { free: () => 1000, whenFree: async () => {} };
  for await (const batch of broker.consume(queues, { worker: "test", credit, signal: stop.signal })) {
    for (const delivery of batch) {
      const { message, info } = delivery.open();
      tasks.push(Object.assign(readTaskMessage(message, info, { accept }), { queue: delivery.queue }));
    }
    await broker.settle(batch.map((delivery) => ({ delivery, end: { kind: "ack" } })));
    if (tasks.length === total) stop.abort();
  }
  return tasks;
}

test("delay() puts a message on the queue, as Celery's own would be", async () => {
  await using app = memoryApp();
  const add = app.task("proj.add", (x: number, y: number) => x + y);
  const result = await add.delay(2, 3);
  expect(result).toBeInstanceOf(AsyncResult);
  const [task] = await taken(app, "celery");
  expect(task).toMatchObject({
    id: result.id,
    task: "proj.add",
    rootId: result.id,
    parentId: undefined,
    retries: 0,
    argsrepr: "(2, 3)",
    kwargsrepr: "{}",
    ignoreResult: false,
  });
  expect(task?.origin).toMatch(/^gen\d+@/);
  expect(task?.body()).toMatchObject({ args: [2, 3], kwargs: {} });
});

test("every option of a call reaches the message", async () => {
  const clock = new FakeClock(Date.UTC(2026, 0, 1));
  await using app = memoryApp({ clock });
  const link = { task: "next", args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false };
  await app.sendTask("any", [1], { k: "v" }, {
    countdown: "90s", expires: 3600, queue: "long", priority: 5, serializer: "yaml", compression: "gzip", headers: { tenant: "x" }, taskId: "my-id",
    shadow: "alias", ignoreResult: true, timeLimit: 30, softTimeLimit: "25s", link, linkError: [link], replyTo: "reply", argsrepr: "(hidden)",
    stampedHeaders: ["stamp"], stamps: { stamp: "1" }, groupId: "g", groupIndex: 2, rootId: "r", parentId: "p", replacedTaskNesting: 1, periodicTaskName: "nightly",
  }); // prettier-ignore
  const [task] = await taken(app, "long");
  expect(task).toMatchObject({
    id: "my-id", task: "any", shadow: "alias", ignoreResult: true, timeLimitMs: 30_000, softTimeLimitMs: 25_000, argsrepr: "(hidden)", group: "g", groupIndex: 2,
    rootId: "r", parentId: "p", replacedTaskNesting: 1, stamps: { stamp: "1" }, stampedHeaders: ["stamp"],
  }); // prettier-ignore
  expect(task?.eta?.text).toBe("2026-01-01T00:01:30.000000+00:00");
  expect(task?.expires?.at).toBe(Date.UTC(2026, 0, 1, 1));
  expect(task?.message.properties).toMatchObject({ priority: 5, replyTo: "reply" });
  expect(task?.message.contentType).toBe("application/x-yaml");
  expect(task?.headers).toMatchObject({ tenant: "x" });
  expect(task?.body()).toMatchObject({
    args: [1],
    kwargs: { k: "v" },
    embed: { callbacks: [link], errbacks: [link], chain: null, chord: null },
  });
});

test("an eta may be a Date, and countdown 0 is none", async () => {
  await using app = memoryApp();
  await app.sendTask("a", [], null, { eta: new Date(Date.UTC(2030, 0, 1)) });
  await app.sendTask("b", [], null, { countdown: 0 });
  const [a, b] = await taken(app, "celery");
  expect(a?.eta?.at).toBe(Date.UTC(2030, 0, 1));
  expect(b?.eta).toBeUndefined();
});

test("wrong options and arguments are refused at the call, by name and by path", async () => {
  await using app = memoryApp();
  const task = app.task("t", (value: unknown) => value);
  await expect(task.applyAsync([1], null, { count_down: 1 } as never)).rejects.toThrow(
    '"count_down" is not an option of a call of t. Did you mean "countdown"?',
  );
  await expect(task.applyAsync([1], null, { countdown: "soon" as never })).rejects.toBeInstanceOf(CallError);
  await expect(task.applyAsync([1], null, { countdown: 1, eta: new Date() })).rejects.toThrow("both countdown and eta");
  await expect(task.applyAsync([1], null, { eta: new Date("x") })).rejects.toThrow("eta of a call of t is not a valid Date");
  await expect(task.applyAsync([1], null, { retryPolicy: { tries: 1 } as never })).rejects.toThrow('it has an unknown key "tries"');
  await expect(task.map([[1], [2]], { retryPolicy: { tries: 1 } as never })).rejects.toThrow('it has an unknown key "tries"');
  const bad = task.delay({ list: [1, () => 2] });
  await expect(bad).rejects.toBeInstanceOf(ProtocolError);
  await expect(bad).rejects.toThrow(/args.*list.*1/);
  expect(await taken(app, "celery")).toEqual([]);
});

class Order {
  id = 1;
}

test.each([
  [{}, [{ items: [0, 1, 2, { price: new Map() }] }], "args[0].items[3].price: a Map cannot be written"],
  [{}, [{ order: new Order() }], "args[0].order: an instance of Order would arrive as a plain object"],
  [{ taskCompression: "gzip" }, [[1, Number.NaN]], "args[0][1]: NaN cannot be written"],
  [{ taskSerializer: "msgpack" }, [{ a: [new Set()] }], "args[0].a[0]: a Set cannot be written"],
  [{ taskSerializer: "yaml" }, [new Order()], "args[0]: an instance of Order"],
])("with %j, what would not survive is refused with its path", async (settings, args, message) => {
  await using app = memoryApp(settings);
  await expect(app.sendTask("t", args)).rejects.toThrow(message);
  await expect(app.sendTask("t", [], { named: args[0] })).rejects.toThrow(message.replace("args[0]", "kwargs.named").split(":")[0]);
  expect(await taken(app, "celery")).toEqual([]);
});

test("what has a toJSON, and what comes from another realm, is written", async () => {
  await using app = memoryApp();
  const foreign = runInNewContext("({ a: [1] })") as object;
  await app.sendTask("t", [new URL("http://a.example/"), foreign, Object.assign(Object.create(null) as object, { b: 2 })]);
  const [task] = await taken(app, "celery");
  expect(task?.body().args).toEqual(["http://a.example/", { a: [1] }, { b: 2 }]);
});

test("a message larger than taskMaxBytes is refused, and says by how much", async () => {
  await using app = memoryApp({ taskMaxBytes: 1000 });
  const big = app.sendTask("t", ["x".repeat(1000)]);
  await expect(big).rejects.toBeInstanceOf(PayloadTooLargeError);
  await expect(big).rejects.toMatchObject({ task: "t", maxBytes: 1000, code: "PAYLOAD_TOO_LARGE" });
  await expect(big).rejects.toThrow("take 1079 bytes, and taskMaxBytes allows 1000");
  await app.sendTask("t", ["x".repeat(1000)], null, { compression: "gzip" });
  expect(await taken(app, "celery")).toHaveLength(1);
});

test("a call by name leaves ignore_result to the worker; a task that is known says its own", async () => {
  await using app = memoryApp();
  app.task({ name: "quiet", ignoreResult: true, run() {} });
  await app.sendTask("unknown.here");
  await app.sendTask("quiet");
  const tasks = await taken(app, "celery");
  expect(tasks.map((task) => task.ignoreResult)).toEqual([null, true]);
});

test("options of the task go into its messages, limits of the settings do not", async () => {
  const clock = new FakeClock(0);
  await using app = memoryApp({ clock, taskTimeLimit: 99 });
  const task = app.task({ name: "t", queue: "own", priority: 3, expires: "10s", softTimeLimit: 5, run() {} });
  await task.delay();
  const [sent] = await taken(app, "own");
  expect(sent).toMatchObject({ softTimeLimitMs: 5000, timeLimitMs: undefined });
  expect(sent?.expires?.at).toBe(10_000);
  expect(sent?.message.properties.priority).toBe(3);
});

test("router functions see the arguments; tables are looked up once", async () => {
  await using app = memoryApp({ taskRoutes: [(_name, args) => (args[0] === "big" ? "long" : undefined), { t: "short" }] });
  const task = app.task("t", (size: string) => size);
  await task.delay("big");
  await task.delay("small");
  expect((await taken(app, "long", "short")).map((each) => each.queue).toSorted()).toEqual(["long", "short"]);
});

test("bulk calls keep their order, and each call its options", async () => {
  await using app = memoryApp();
  const add = app.task("add", (x: number, y: number) => x + y);
  const results = await add.map([[1, 2], [3, 4]]); // prettier-ignore
  const [first, other] = await app.publishMany([add.call(5, 6), { name: "py.other", args: ["x"], options: { queue: "py" } }]);
  const tasks = await taken(app, "celery", "py");
  expect(tasks.map((task) => [task.id, task.body().args[0]])).toEqual(
    expect.arrayContaining([[results[0]?.id, 1], [results[1]?.id, 3], [first.id, 5], [other.id, "x"]]),
  ); // prettier-ignore
  expect(tasks.find((task) => task.id === other.id)?.queue).toBe("py");
});

test("a remote handle has its own defaults", async () => {
  await using app = memoryApp();
  const count = app.remote<[string], number>("py.count", { queue: "python", priority: 9 });
  await count.delay("a");
  await count.applyAsync(["b"], null, { priority: 1 });
  expect((await taken(app, "python")).map((task) => String(task.message.properties.priority)).toSorted()).toEqual(["1", "9"]);
});

test("a call inside of a task carries on its workflow and is recorded as its child", async () => {
  await using app = memoryApp({ taskInheritParentPriority: true });
  const child = app.task("child", () => {});
  const ctx = runningTask(app, child);
  await runAsTask(ctx, async () => {
    expect(currentTask()).toBe(ctx);
    const one = await child.delay();
    await child.applyAsync([], null, { addToParent: false, priority: 1 });
    expect(ctx.children).toEqual([[[one.id, null], null]]);
  });
  const tasks = await taken(app, "celery");
  expect(tasks.map((task) => `${task.parentId} of ${task.rootId} at ${task.message.properties.priority}`).toSorted()).toEqual(["parent-1 of root-1 at 1", "parent-1 of root-1 at 7"]); // prettier-ignore
});

test("the log below a task carries its name and id, wherever it is used", async () => {
  const lines: string[] = [];
  const logger = (bound: LogFields): Logger => ({ ...silentLogger, info: (fields, message) => void lines.push(`${message} ${JSON.stringify({ ...bound, ...fields })}`), child: (more) => logger({ ...bound, ...more }) }); // prettier-ignore
  await using app = memoryApp({ logger: logger({}) });
  const task = app.task("t", async () => {
    await Promise.resolve();
    taskLogger.info({ n: 1 }, "inside");
  });
  await task.apply([], null, { taskId: "id-1" });
  taskLogger.info({}, "outside");
  expect(lines).toEqual(['inside {"task":"t","taskId":"id-1","n":1}', "outside {}"]);
});

test("the health check is there without any definition", async () => {
  await using app = memoryApp();
  expect(app.tasks.names()).toContain("lovage.healthcheck");
  const result = await (app.tasks.get("lovage.healthcheck") as AnyTask).apply([]);
  expect(await result.get()).toBe("ok");
});

test("two tasks of one name are refused", async () => {
  await using app = memoryApp();
  app.task("t", () => 1);
  expect(() => app.task("t", () => 2)).toThrow(TaskDefinitionError);
});

test("a shared task runs under every app, whichever was first", async () => {
  await using first = memoryApp({ name: "first" });
  const double = sharedTask("lib.double", (x: number) => x * 2);
  await using second = memoryApp({ name: "second" });
  expect(first.tasks.get("lib.double")?.app).toBe(first);
  expect(second.tasks.names()).toContain("lib.double");
  await double.delay(4);
  expect((await taken(second, "celery")).length).toBe(1);
  await double.in(first).delay(4);
  expect((await taken(first, "celery")).length).toBe(1);
  await runAsTask(runningTask(first, first.tasks.get("lib.double") as AnyTask), () => double.delay(5));
  expect((await taken(first, "celery")).length).toBe(1);
  expect(() => sharedTask("lib.double", (x: number) => x * 3)).toThrow(TaskDefinitionError);
  expect(sharedTask("lib.double", (x: number) => x * 2).name).toBe("lib.double");
});

test("without an app a shared task says what is missing", async () => {
  const lonely = sharedTask("lib.lonely", () => 1);
  await memoryApp().close();
  expect(currentApp()).toBeUndefined();
  await expect(async () => lonely.delay()).rejects.toBeInstanceOf(ConfigurationError);
});

test("no broker is named: the embedded one in development, with one line; an error in production", async () => {
  const root = mkdtempSync(join(tmpdir(), "lovage-app-"));
  const lines: string[] = [];
  const logger: Logger = { ...silentLogger, info: (_, message) => void lines.push(message) };
  const app = new Lovage("dev", { env: {}, root, logger });
  expect(app.brokerSpec()).toMatchObject({ kind: "sqlite", path: join(root, ".lovage", "lovage.db") });
  expect(app.backendSpec()).toMatchObject({ kind: "sqlite", path: join(root, ".lovage", "lovage.db") });
  expect(lines).toEqual(["CELERY_BROKER_URL is not set: using the embedded broker"]);
  await app.close();
  await using live = new Lovage("live", { env: { NODE_ENV: "production" }, root, logger: silentLogger });
  await expect(live.sendTask("t")).rejects.toBeInstanceOf(ConfigurationError);
  await expect(live.sendTask("t")).rejects.toThrow(/^CELERY_BROKER_URL is not set/);
  rmSync(root, { recursive: true });
});

test("with a broker and no result backend none is kept", async () => {
  await using app = new Lovage("x", { env: { CELERY_BROKER_URL: "redis://h:1/2" }, configFile: false, logger: silentLogger });
  expect(app.backendSpec()).toBeUndefined();
  expect(app.brokerSpec()).toMatchObject({ kind: "redis", url: "redis://h:1/2" });
});

test("what is used is known by its scheme", async () => {
  const spec = (brokerUrl: string) =>
    new Lovage("x", { brokerUrl, env: false, configFile: false, root: "/srv/app", setAsCurrent: false }).brokerSpec();
  expect(spec("sqlite:///var/lib/x.db?synchronous=full")).toMatchObject({ path: "/var/lib/x.db", synchronous: "FULL" });
  expect(spec("sqlite://data/x.db")).toMatchObject({ path: "/srv/app/data/x.db", synchronous: "NORMAL" });
  expect(spec("sqlite:./x.db")).toMatchObject({ path: "/srv/app/x.db" });
  expect(spec("memory://")).toMatchObject({ kind: "memory", name: "default" });
  expect(() => spec("amqp://guest:secret@h//")).toThrow(/amqp:\/\/guest:\*+@h\/\/, whose scheme is not known/);
});

test("settings: environment over file over code; settled once used", async () => {
  const root = mkdtempSync(join(tmpdir(), "lovage-app-"));
  writeFileSync(join(root, "lovage.config.json"), '{ "task_default_queue": "file", "timezone": "Europe/London" }');
  await using app = new Lovage("x", {
    env: { CELERY_TASK_DEFAULT_QUEUE: "env" },
    root,
    taskDefaultQueue: "code",
    timezone: "UTC",
    taskSerializer: "yaml",
  });
  app.configure({ taskTrackStarted: true }).override({ task_time_limit: "9" }, "the command line", { isText: true });
  expect(app.settings).toMatchObject({
    taskDefaultQueue: "env",
    timezone: "Europe/London",
    taskSerializer: "yaml",
    taskTrackStarted: true,
    taskTimeLimitMs: 9000,
  });
  expect(() => app.configure({ timezone: "UTC" })).toThrow(ConfigurationError);
  rmSync(root, { recursive: true });
});

test("closing is final, and twice is once", async () => {
  const app = memoryApp();
  const task = app.task("t", () => {});
  await task.delay();
  await app.close();
  await app.close();
  await expect(task.delay()).rejects.toBeInstanceOf(AppClosedError);
  await expect(app.backend()).rejects.toBeInstanceOf(AppClosedError);
});

test("an app is known without its class", async () => {
  await using app = memoryApp();
  expect([isLovage(app), isLovage({}), isLovage(null)]).toEqual([true, false, false]);
});
