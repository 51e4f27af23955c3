/** Checked by the compiler alone: tasks that take many messages, and batches of tasks. */
import { expectTypeOf } from "vitest";
import { Lovage } from "./app.ts";
import { type BatchSummary, currentBatch } from "./batch.ts";
import type { BatchItem } from "./batch-task.ts";
import { chord, group } from "./compose.ts";
import type { Task } from "./task.ts";

const app = new Lovage("types");
const add = app.task("add", (x: number, y: number) => x + y);

// --- one run for many calls ----------------------------------------------------------------------------------------

const marked = app.task({
  name: "marked",
  batch: { size: 50, wait: "500ms" },
  async run(ctx, items: readonly BatchItem<[address: string], number>[]) {
    expectTypeOf(ctx.signal).toEqualTypeOf<AbortSignal>();
    for (const item of items) item.succeed(item.args[0].length);
    // @ts-expect-error a caller waits for a number
    for (const item of items) item.succeed("text");
  },
});
expectTypeOf(marked).toEqualTypeOf<Task<[address: string], number>>();
const listed = app.task({ name: "listed", batch: {}, run: (_, items: readonly BatchItem<[x: number], string>[]) => items.map(String) });
expectTypeOf(listed).toEqualTypeOf<Task<[x: number], string>>();
const byUser = app.task({
  name: "byUser",
  aggregate: { key: (user: string, _text: string) => user, maxSize: 50, maxWait: "2s" },
  async run(_, _items: readonly BatchItem<[user: string, text: string]>[]) {},
});
void byUser.delay("ann", "hello");
// @ts-expect-error callers send single calls, and this one is no text
void marked.delay(5);
// @ts-expect-error no such option
app.task({ name: "x", batch: { siez: 10 }, async run(_, _items: readonly BatchItem<[x: number]>[]) {} });
// @ts-expect-error its function is given many
app.task({ name: "x", batch: { size: 10 }, async run(_, _x: number) {} });
// @ts-expect-error a value for each item is of the type that callers wait for
app.task({ name: "x", batch: {}, run: (_, items: readonly BatchItem<[x: number], string>[]) => items.map(() => 5) });
// @ts-expect-error the key is given the arguments of a call
app.task({ name: "x", aggregate: { key: (user: number) => user }, async run(_, _items: readonly BatchItem<[user: string]>[]) {} });
// @ts-expect-error one or the other
app.task({ name: "x", batch: {}, aggregate: {}, async run(_, _items: readonly BatchItem<[x: number]>[]) {} });
// @ts-expect-error no hook for one message: the function sees them all
app.task({ name: "x", batch: {}, onSuccess: () => undefined, async run(_, _items: readonly BatchItem<[x: number]>[]) {} });

// --- batches of tasks ----------------------------------------------------------------------------------------------

const report = app.task("report", (summary: BatchSummary, team: string) => `${team}: ${summary.failed}`);
const batch = await app.batch({ description: "May", onComplete: report.s("imports") }, async (adding) => {
  await adding.add([add.s(1, 2)]);
  await adding.child({ description: "one file" }, (child) => child.add([add.s(3, 4)]));
});
expectTypeOf(batch.whenComplete().get()).toEqualTypeOf<Promise<BatchSummary>>();
void currentBatch()?.add([add.s(1, 2)]);
// @ts-expect-error a callback is given the summary first
void app.batch({ onComplete: app.task("number", (x: number) => x).s() });
// @ts-expect-error a member needs all its arguments
void batch.add([add.s(1)]);
// @ts-expect-error members are single tasks
void batch.add([group([add.s(1, 1)])]);
// @ts-expect-error members are single tasks
void batch.add([chord([add.s(1, 1)], app.task("sum", (list: readonly number[]) => list.length).s())]);
