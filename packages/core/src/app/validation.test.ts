/** What the compiler has not seen: every wrong value is refused where it is said, by name, before anything is sent. */
import { expect, test } from "vitest";
import type { Broker } from "../brokers/broker.ts";
import { memoryApp } from "../testing/memory-app.ts";
import type { BatchOptions } from "./batch.ts";
import type { CallOptions } from "./call-options.ts";
import { chain, chord, group } from "./compose.ts";
import { CallError, TaskDefinitionError } from "./errors.ts";
import { currentTask } from "./process-wide.ts";
import type { PauseOptions } from "./queue-control.ts";
import type { RetryRequest } from "./task-context.ts";
import type { TaskOptions } from "./task-options.ts";

const NEVER = new Date(Number.NaN);

test.each([
  [{ countdown: "5 parsecs" }, 'countdown of a call of shop.add is "5 parsecs"'],
  [{ countdown: Number.NaN }, "countdown of a call of shop.add"],
  [{ eta: NEVER }, "eta of a call of shop.add is not a valid Date"],
  [{ expires: "soon" }, 'expires of a call of shop.add is "soon"'],
  [{ expires: NEVER }, "expires of a call of shop.add is not a valid Date"],
  [{ timeLimit: "long" }, 'timeLimit of a call of shop.add is "long"'],
  [{ limitKey: { tenant: "acme" } }, "limitKey of a call of shop.add is not accepted"],
] as unknown as [CallOptions, string][])("%j is refused for a call and for a signature", async (options, why) => {
  await using app = memoryApp();
  const add = app.task("shop.add", (x: number) => x);
  await expect(add.applyAsync([1], null, options)).rejects.toThrow(why);
  expect(() => add.s(1).set(options)).toThrow(CallError);
  expect(() => add.s(1).set(options)).toThrow(why);
  await expect(add.s(1).applyAsync([], {}, options)).rejects.toThrow(why);
  expect(() => app.signature("shop.add", [1], {}, options)).toThrow(why);
  expect(await (await app.broker()).depth(["celery"])).toMatchObject([{ ready: 0, parked: 0 }]);
});

test("what does not travel inside of a signature is refused, and not left out", async () => {
  await using app = memoryApp();
  const pay = app.remote<[string], string>("shop.pay", { encrypt: true });
  expect(() => pay.s("card")).toThrow(/a signature of shop.pay has encrypt, and arguments inside of signatures travel in the clear/);
  const add = app.task("shop.add", (x: number) => x);
  expect(() => add.s(1).set({ unique: true })).toThrow(/takes no lock/);
  expect(app.remote<[number], number>("shop.add", { unique: true }).s(1).options).toEqual({});
});

test("a stamp may have any name", async () => {
  await using app = memoryApp();
  const stamps = JSON.parse('{"__proto__": {"queue": "elsewhere"}}') as Record<string, unknown>;
  const { options } = app.signature("shop.add", [1], {}, { stamps });
  expect(options["queue"]).toBeUndefined();
  expect(options["stamped_headers"]).toEqual(["__proto__"]);
});

test.each([
  [{ eta: NEVER }, "eta of a retry of shop.late is not a valid Date"],
  [{ eta: "tomorrow" }, "eta of a retry of shop.late is not a valid Date"],
  [{ expires: NEVER }, "expires of a retry of shop.late is not a valid Date"],
] as unknown as [RetryRequest, string][])("ctx.retry(%j) fails the task and says why", async (request, why) => {
  await using app = memoryApp();
  const late = app.task({ name: "shop.late", maxRetries: 1, run: (ctx) => ctx.retry(request) });
  const result = await late.apply([]);
  await expect(result.get()).rejects.toThrow(why);
  expect(currentTask()).toBeUndefined();
});

test.each([
  [{ acksLate: "false" }, 'acksLate of the task t is "false": it takes true or false'],
  [{ ignoreResult: 1 }, "ignoreResult of the task t is 1"],
  [{ pool: "thread" }, 'pool of the task t is "thread": it takes async, threads, processes'],
  [{ maxRetries: -1 }, "maxRetries of the task t is -1"],
  [{ retry: { maxRetries: Number.NaN } }, "maxRetries of the task t is NaN"],
  [{ limit: { rate: "fast" } }, "limit of the task t is not accepted: `rate` takes"],
  [{ unique: { kee: "x" } }, 'unique of the task t is not accepted: "kee" is not one of'],
  [{ encrypt: 7 }, "encrypt of the task t is not accepted"],
  [{ deadLetter: 7 }, "deadLetter of the task t is not accepted"],
] as unknown as [TaskOptions, string][])("the task option %j is refused", async (options, why) => {
  await using app = memoryApp();
  const task = app.task("t", options, () => undefined);
  expect(() => task.options).toThrow(TaskDefinitionError);
  expect(() => task.options).toThrow(why);
});

test.each([
  [{ batch: null }, "batch of the task t is not accepted: it takes an object of size, wait"],
  [{ batch: true }, "batch of the task t is not accepted"],
  [{ batch: { sice: 5 } }, '"sice" is not an option of batch (task t). Did you mean "size"?'],
  [{ aggregate: { key: "user" } }, "aggregate.key of the task t is not accepted: it takes a function"],
  [{ aggregate: { size: 5 } }, '"size" is not an option of aggregate (task t).'],
] as unknown as [object, string][])("%j is refused", async (options, why) => {
  await using app = memoryApp();
  const task = app.task({ name: "t", run: () => undefined, ...options });
  expect(() => task.options).toThrow(TaskDefinitionError);
  expect(() => task.options).toThrow(why);
});

test.each([
  [{ onSucces: undefined }, '"onSucces" is not an option of a batch. Did you mean "onSuccess"?'],
  [{ id: "" }, "id of a batch is not accepted"],
  [{ description: 7 }, "description of a batch is not accepted"],
  [{ parent: "batch-1" }, "parent of a batch is not accepted: it takes a batch"],
  [{ expires: "never" }, "expires of a batch is not accepted"],
] as unknown as [BatchOptions, string][])("app.batch(%j) is refused", async (options, why) => {
  await using app = memoryApp();
  await expect(app.batch(options)).rejects.toThrow(CallError);
  await expect(app.batch(options)).rejects.toThrow(why);
});

test("a batch that could not be filled tells why, also when it cannot be cancelled", async () => {
  await using app = memoryApp();
  const why = new Error("the file is empty");
  const filling = app.batch({}, async (batch) => {
    await batch.forget(); // cancelling it says that it is gone
    throw why;
  });
  await expect(filling).rejects.toBe(why);
});

test.each([
  [{ reason: 7 }, "pause() takes a reason and a name of at most 500 characters"],
  [{ by: null }, "pause() takes a reason"],
  [{ for: "a while" }, "`for` of pause() takes"],
  [{ until: "tomorrow" }, "`until` of pause() takes a valid Date"],
  [{ until: NEVER }, "`until` of pause() takes a valid Date"],
] as unknown as [PauseOptions, string][])("app.queues.pause(%j) is refused", async (options, why) => {
  await using app = memoryApp();
  await expect(app.queues.pause("mail", options)).rejects.toThrow(CallError);
  await expect(app.queues.pause("mail", options)).rejects.toThrow(why);
});

test("a place that is none is refused by a repair", async () => {
  await using app = memoryApp();
  for (const place of [-1, 0.5, Number.NaN])
    await expect(app.workflow("some-group").complete(1, { place })).rejects.toThrow("a place is a whole number from 0");
});

test("a task is found whatever its own headers are called", async () => {
  await using app = memoryApp();
  const add = app.task("shop.add", (x: number) => x);
  const sent = await add.applyAsync([1], null, { headers: { trace: { id: "no task of ours", group: "of others" } } });
  const { root } = await app.workflow(sent.id).explain();
  expect(root).toMatchObject({ id: sent.id, task: "shop.add", where: { kind: "queue", queue: "celery" } });
  await expect(app.workflow("no task of ours").explain()).rejects.toThrow(/nothing is known of no task of ours/);
  const broker: Broker = await app.broker();
  expect(await broker.depth(["celery"])).toMatchObject([{ ready: 1 }]);
});

test("what is no signature is refused by its place", async () => {
  await using app = memoryApp();
  const add = app.task("shop.add", (x: number) => x);
  const none = undefined as never;
  expect(() => chain(none, add.s())).toThrow(/^part 0 of a chain is no signature: make one with task.s/);
  expect(() => chain(add.s(1), add as never)).toThrow(/^part 1 of a chain is no signature/);
  expect(() => group(add.s(1) as never)).toThrow(/^a group takes a list of signatures/);
  expect(() => group([add.s(1), "shop.add" as never])).toThrow(/^part 1 of a group is no signature/);
  expect(() => chord([add.s(1)], none)).toThrow(/^the body of a chord is no signature/);
  expect(() => chord(7 as never, add.s() as never)).toThrow(/^the header of a chord is no signature/);
  expect(() => add.s(1).link("shop.add" as never)).toThrow(/^a string is no signature/);
});

test("limits of fair queues: a name that would change nothing is refused", async () => {
  await using app = memoryApp();
  await expect(app.fairness.set("imports", "acme", { wieght: 2 } as never)).rejects.toThrow(
    '"wieght" is not one of weight, limit. Did you mean "weight"?',
  );
  await expect(app.fairness.setDefaults("imports", { limits: 2 } as never)).rejects.toThrow(CallError);
});
