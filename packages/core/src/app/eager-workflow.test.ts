/** Workflows without a broker: `taskAlwaysEager`, and `signature.apply()`. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ChordError } from "../protocol/celery-errors.ts";
import { memoryApp } from "../testing/memory-app.ts";
import type { Lovage } from "./app.ts";
import { chain, chord, chunks, group, map } from "./compose.ts";

let app: Lovage;
const seen: unknown[] = [];

beforeEach(() => {
  seen.length = 0;
  app = memoryApp({ brokerUrl: "redis://127.0.0.1:1/0", taskAlwaysEager: true }); // nothing may reach a broker
});
afterEach(() => app.close());

function tasks() {
  const add = app.task("add", (x: number, y: number) => x + y);
  const sum = app.task("sum", (list: readonly number[]) => list.flat().reduce((all, each) => all + each, 0));
  const boom = new RangeError("boom");
  const fail = app.task("fail", (_: unknown): number => {
    throw boom;
  });
  const note = app.task("note", (what: unknown) => void seen.push(what));
  return { add, sum, fail, note, boom };
}

test("every shape runs, and hands on what a worker would hand on", async () => {
  const { add, sum } = tasks();
  const line = await chain(add.s(1, 1), add.s(2), add.s(3)).delay();
  expect([await line.get(), await line.parent?.get(), await line.parent?.parent?.get()]).toEqual([7, 4, 2]);
  const many = await group([add.s(1, 1), chain(add.s(1, 1), add.s(5))]).delay();
  expect(await many.get()).toEqual([2, 7]);
  expect(await many.successful()).toBe(true);
  expect(await (await chord([add.s(1, 1), group([add.s(2, 2), add.s(3, 3)])] as const, sum.s() as never).delay()).get()).toBe(12);
  expect(await (await chain(add.s(1, 1), group([add.s(2), add.s(3)]), sum.s(), add.s(100)).delay()).get()).toBe(109);
  const nested = chord([chain(add.s(1, 1), group([add.s(2), add.s(3)])), add.s(1, 2)] as const, sum.s() as never);
  expect(await (await nested.delay()).get()).toBe(12);
  expect(await (await chunks(add.s(), [[1, 1], [2, 2], [3, 3]], 2).delay()).get()).toEqual([[2, 4], [6]]); // prettier-ignore
  expect(await (await map(sum.s(), [[1, 2], [3]]).delay()).get()).toEqual([3, 3]);
  expect(await (await chord([] as ReturnType<typeof add.si>[], sum.s() as never).delay()).get()).toBe(0);
});

test("callbacks run, in the order in which they would be sent", async () => {
  const { add, note } = tasks();
  await add.applyAsync([1, 1], null, { link: [note.s(), note.si("done")] });
  await chain(add.s(1, 2).link(note.s()), add.s(1).link(note.s())).delay();
  expect(seen).toEqual([2, "done", 3, 4]);
});

describe("failures", () => {
  test("all that comes after has the very error, the error callback is called once, with the id", async () => {
    const { add, fail, note, boom } = tasks();
    const failing = fail.s().freeze("the-failing");
    const result = await chain(add.s(1, 1), failing.signature, add.s(1), add.s(2)).onError(note.s()).delay();
    await expect(result.get()).rejects.toBe(boom);
    expect(await result.state()).toBe("FAILURE");
    expect(await result.parent?.parent?.parent?.get()).toBe(2);
    expect(seen).toEqual(["the-failing"]);
  });

  test("an error callback that takes three arguments is given them", async () => {
    const { fail } = tasks();
    const details = app.task("details", (request: { id: string }, error: { exc_type: string }, traceback: string | null) => {
      seen.push(request.id, error.exc_type, traceback?.includes("boom"));
    });
    const { id } = await fail.s(1).onError(details.s()).delay();
    expect(seen).toEqual([id, "ValueError", true]);
  });

  test("a failed member fails the body and the chord around it", async () => {
    const { add, fail, sum, note } = tasks();
    const inner = chord([add.s(1, 1), fail.s("x")], sum.s().onError(note.s())).freeze();
    const result = await chord([inner.signature, add.s(1, 1)], sum.s()).delay();
    await expect(result.get()).rejects.toThrow(ChordError);
    await expect(inner.signature.app.result(result.id).state()).resolves.toBe("PENDING"); // nothing is stored
    expect(seen).toHaveLength(1);
  });

  test("with taskEagerPropagates the call throws", async () => {
    await app.close();
    app = memoryApp({ taskAlwaysEager: true, taskEagerPropagates: true });
    const { add, fail, boom } = tasks();
    await expect(chain(fail.s(1), add.s(1)).delay()).rejects.toBe(boom);
  });

  test("a task that is defined elsewhere fails with NotRegistered", async () => {
    const { add } = tasks();
    const result = await chain(app.remote<[], number>("elsewhere").s(), add.s(1)).delay();
    await expect(result.get()).rejects.toThrow(/elsewhere/);
  });

  test("what cannot be handed on fails the task that returned it", async () => {
    const { note } = tasks();
    const odd = app.task("odd", (): unknown => ({ f: () => 1 }));
    const result = await chain(odd.s(), note.s()).delay();
    await expect(result.parent?.get()).rejects.toThrow();
    await expect(result.get()).rejects.toThrow();
  });

  test("an ignored member gives its chord null", async () => {
    const { note } = tasks();
    const ignored = app.task({ name: "ignored", run: (ctx): number => ctx.ignore() });
    await chord([ignored.s()], note.s()).delay();
    expect(seen).toEqual([[null]]);
  });
});

test("a task is replaced, and adds to its chord", async () => {
  const { add, sum } = tasks();
  const replaced = app.task({
    name: "replaced",
    run: (ctx, value: number): number => ctx.replace(chord([add.s(value, 1), add.s(value, 2)], sum.s())),
  });
  const adding = app.task({
    name: "adding",
    async run(ctx, value: number) {
      await ctx.addToChord(add.s(value, 10));
      return value;
    },
  });
  const result = await replaced.delay(1);
  expect(await result.get()).toBe(5);
  expect(await (await chord([chain(replaced.s(1), add.s(100)), adding.s(1)], sum.s()).delay()).get()).toBe(105 + 1 + 11);
});

test("a task sends a workflow and waits for it", async () => {
  const { add } = tasks();
  const outer = app.task("outer", async () => await (await chain(add.s(1, 1), add.s(1)).delay()).get());
  expect(await (await outer.delay()).get()).toBe(3);
});

test("apply() runs one workflow so, whatever the setting", async () => {
  await app.close();
  app = memoryApp();
  const { add, sum } = tasks();
  expect(await (await chord([add.s(1), add.s(2)], sum.s()).apply([10])).get()).toBe(23);
});

test("its results are a tree as those of workers are", async () => {
  const { add, sum } = tasks();
  const result = await chain(add.s(1, 1), group([add.s(2), add.s(3)]), sum.s()).delay();
  const first = result.parent?.parent;
  const collected: unknown[] = [];
  if (first !== undefined) for await (const { value } of first.collect()) collected.push(value);
  expect(collected).toEqual([2, [4, 5], 9, 4, 5]);
  expect((await result.graph()).edges).toHaveLength(5);
});
