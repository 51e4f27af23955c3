/** Checked by the compiler alone: calls are typed from the definition to the result. */
import { expectTypeOf } from "vitest";
import { z } from "zod";
import type { AsyncResult } from "./async-result.ts";
import type { EagerResult } from "./eager.ts";
import { Lovage } from "./app.ts";
import { sharedTask } from "./shared-task.ts";
import type { RemoteTask, Task } from "./task.ts";
import type { TaskContext } from "./task-context.ts";

const app = new Lovage("types");

const add = app.task("add", (x: number, y: number) => x + y);
expectTypeOf(add).toEqualTypeOf<Task<[x: number, y: number], number>>();
expectTypeOf(add.delay(1, 2)).toEqualTypeOf<Promise<AsyncResult<number>>>();
expectTypeOf((await add.delay(1, 2)).get()).toEqualTypeOf<Promise<number>>();
expectTypeOf((await add.delay(1, 2)).get({ propagate: false })).toEqualTypeOf<Promise<number | Error>>();
expectTypeOf(add.map([[1, 2]])).toEqualTypeOf<Promise<AsyncResult<number>[]>>();
expectTypeOf(add.apply([1, 2])).toEqualTypeOf<Promise<EagerResult<number>>>();
// @ts-expect-error an argument is missing
void add.delay(1);
// @ts-expect-error an argument has another type
void add.delay(1, "2");
// @ts-expect-error there is one too many
void add.delay(1, 2, 3);
void add.applyAsync([1, 2], null, { countdown: "10s", queue: "q" });
void add.applyAsync([1], { y: 2 });
void add.applyAsync([], { x: 1, y: 2 }, { priority: 3 });
// @ts-expect-error without keyword arguments all positions are needed
void add.applyAsync([1]);
// @ts-expect-error no such option
void add.applyAsync([1, 2], null, { count_down: 1 });
// @ts-expect-error no duration
void add.applyAsync([1, 2], null, { countdown: "soon" });

const resize = app.task({
  name: "resize",
  acksLate: true,
  retry: { maxRetries: 5, backoff: { kind: "exponential", base: "1s", max: "1m", jitter: "full" } },
  timeLimit: "30s",
  async run(ctx, imageId: string, width?: number): Promise<string> {
    expectTypeOf(ctx).toEqualTypeOf<TaskContext>();
    return `${imageId}@${width}`;
  },
});
expectTypeOf<Parameters<typeof resize.delay>>().toEqualTypeOf<[imageId: string, width?: number | undefined]>();
void resize.delay("a");
void resize.delay("a", 5);
// @ts-expect-error an option that does not exist
app.task({ name: "x", acks_late: true, run() {} });

const nothing = app.task({ name: "nothing", run({ log }) { log.info({}, "ran"); } }); // prettier-ignore
expectTypeOf(nothing).toEqualTypeOf<Task<[], void>>();

const order = app.task({
  name: "order",
  input: z.object({ id: z.string(), count: z.string().transform(Number) }),
  run(_, input) {
    expectTypeOf(input).toEqualTypeOf<{ id: string; count: number }>();
    return input.count;
  },
});
expectTypeOf<Parameters<typeof order.delay>>().toEqualTypeOf<[input: { id: string; count: string }]>();
expectTypeOf(order.delay({ id: "x", count: "3" })).toEqualTypeOf<Promise<AsyncResult<number>>>();
// @ts-expect-error before the transformation it is a text
void order.delay({ id: "x", count: 3 });

const pair = app.task({
  name: "pair",
  input: [z.string(), z.coerce.number<number>()],
  run(_, name, count) {
    expectTypeOf(name).toEqualTypeOf<string>();
    expectTypeOf(count).toEqualTypeOf<number>();
    return [name, count] as const;
  },
});
expectTypeOf<Parameters<typeof pair.delay>>().toEqualTypeOf<[string, number]>();

const remote = app.remote<[text: string], { words: number }>("py.count");
expectTypeOf(remote).toEqualTypeOf<RemoteTask<[text: string], { words: number }>>();
expectTypeOf((await remote.delay("a b")).get()).toEqualTypeOf<Promise<{ words: number }>>();

const [sum, image] = await app.publishMany([add.call(1, 2), resize.call("x")]);
expectTypeOf(sum).toEqualTypeOf<AsyncResult<number>>();
expectTypeOf(image).toEqualTypeOf<AsyncResult<string>>();

expectTypeOf(app.sendTask("any", [1])).toEqualTypeOf<Promise<AsyncResult>>();
expectTypeOf(app.result<number>("id").get()).toEqualTypeOf<Promise<number>>();

const shared = sharedTask("lib.double", (x: number) => x * 2);
expectTypeOf(shared.delay(2)).toEqualTypeOf<Promise<AsyncResult<number>>>();
expectTypeOf(shared.in(app)).toEqualTypeOf<Task<[x: number], number>>();

void new Lovage("typed", { taskTimeLimit: "30s", resultExpires: null, taskRoutes: { "a.*": "q" }, workerPool: "async" });
// @ts-expect-error a mistyped setting
void new Lovage("typed", { taskTimelimit: 30 });
// @ts-expect-error a value of another kind
void new Lovage("typed", { taskAcksLate: "yes" });
expectTypeOf(app.settings.taskTimeLimitMs).toEqualTypeOf<number | null>();
expectTypeOf(app.settings.workerPool).toEqualTypeOf<"async" | "threads" | "processes" | "prefork" | "gevent" | "eventlet" | "solo">();

// --- unique, limits, fairness --------------------------------------------------------------------------------------

app.task({ name: "charge", unique: { key: (id: string) => id, throttle: "1h" }, run: (_, id: string, _source: string) => id });
app.task("send", { unique: { key: (id) => id, debounce: "5s", maxWait: "1m" }, fairKey: (id) => id }, (id: string, _n: number) => id);
app.task(
  "track",
  {
    limit: [
      { rate: "10/s", burst: 2, key: (id: string) => id },
      { name: "crm", key: true },
    ],
  },
  (id: string) => id,
);
void add.applyAsync([1, 2], null, { unique: { key: "a" }, limitKey: "b", fairKey: 3 });
void add.applyAsync([1, 2], null, { unique: false });
expectTypeOf((await add.delay(1, 2)).isDuplicate).toEqualTypeOf<boolean>();
void app.limits.set("crm", { rate: "1/s" }, { key: "acme" });
// @ts-expect-error the key is given the arguments of a call
app.task("x", { unique: { key: (id: number) => id } }, (id: string) => id);
// @ts-expect-error the same
app.task("x", { limit: { rate: "1/s", key: (id: number) => id } }, (id: string) => id);
// @ts-expect-error the same
app.task("x", { fairKey: (id: number) => id }, (id: string) => id);
// @ts-expect-error done or started
app.task("x", { unique: { until: "ended" } }, () => 1);
// @ts-expect-error no duration
app.task("x", { unique: { throttle: "1 hour" } }, () => 1);
// @ts-expect-error no such option
void add.applyAsync([1, 2], null, { unique: { key: 1, til: "done" } });
// @ts-expect-error no such option
app.task("x", { limit: { rtae: "10/s" } }, () => 1);
// @ts-expect-error no key is an object
void add.applyAsync([1, 2], null, { limitKey: { a: 1 } });
// @ts-expect-error the key is an option of its own: these are the numbers
void app.limits.set("crm", { rate: "1/s", key: "acme" });
// @ts-expect-error no such option
app.task({ name: "x", run: (ctx) => ctx.snooze("1s", { holdLimits: true }) });
void new Lovage("typed", { queueLimits: { reports: { concurrency: 2 } }, taskQueues: { imports: { fair: true } } });
// @ts-expect-error a mistyped limit
void new Lovage("typed", { queueLimits: { reports: { concurency: 2 } } });
// @ts-expect-error a mistyped option of a queue
void new Lovage("typed", { taskQueues: { imports: { fiar: true } } });
