/** Tasks that put others in their place, or beside them in their chord. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { chain, chord, group } from "../app/compose.ts";
import type { WholeSignature } from "../app/task-context.ts";
import { memoryApp } from "../testing/memory-app.ts";
import { Worker } from "./worker.ts";

let app: ReturnType<typeof memoryApp>;
let worker: Worker;
const seen: unknown[] = [];

beforeEach(() => {
  seen.length = 0;
  app = memoryApp();
});

afterEach(async () => {
  await worker.stop();
  await app.close();
});

function tasks() {
  const add = app.task("add", (x: number, y: number) => x + y);
  const sum = app.task("sum", (list: readonly number[]) => list.reduce((all, each) => all + each, 0));
  const fail = app.task("fail", (): number => {
    throw new RangeError("boom");
  });
  const note = app.task("note", (what: unknown) => void seen.push(what));
  const depth = app.task({ name: "depth", run: (ctx) => [ctx.id, ctx.replacedTaskNesting] as const });
  return { add, sum, fail, note, depth };
}

/** A task that is replaced by what is given. */
function replacer<Out>(by: (value: number) => WholeSignature) {
  return app.task({ name: "replaced", run: (ctx, value: number): Out => ctx.replace(by(value)) });
}

async function begin(): Promise<void> {
  worker = new Worker(app, { concurrency: 4 });
  await worker.start();
}

const get = { timeout: "10s" } as const;

describe("replace", () => {
  test("by a task, which ends under its id, one level deeper", async () => {
    const { depth } = tasks();
    const inner = app.task({ name: "inner", run: (ctx): readonly [string, number] => ctx.replace(depth.s()) });
    const outer = app.task({ name: "outer", run: (ctx): readonly [string, number] => ctx.replace(inner.s()) });
    await begin();
    const result = await outer.delay();
    expect(await result.get(get)).toEqual([result.id, 2]);
  });

  test("by a chain: the rest of its own chain gets the last step's result", async () => {
    const { add } = tasks();
    const replaced = replacer<number>((value) => chain(add.s(value, 1), add.s(10)));
    await begin();
    const result = await chain(add.s(1, 1), replaced.s(), add.s(100)).delay();
    expect(await result.get(get)).toBe(113);
    expect(await result.parent?.get(get)).toBe(13);
  });

  test("by a group: its result is their list, in order", async () => {
    const { add } = tasks();
    const replaced = replacer<number[]>((value) => group([add.s(value, 1), add.s(value, 2), add.s(value, 3)]));
    await begin();
    expect(await (await replaced.delay(1)).get(get)).toEqual([2, 3, 4]);
  });

  test("by a chord, in the middle of a chain and in a chord's header", async () => {
    const { add, sum } = tasks();
    const replaced = replacer<number>((value) => chord([add.s(value, 1), add.s(value, 2)], sum.s()));
    await begin();
    expect(await (await chain(replaced.s(1), add.s(100)).delay()).get(get)).toBe(105);
    expect(await (await chord([replaced.s(1), add.s(1, 1), chain(add.s(1, 1), replaced.s())], sum.s()).delay()).get(get)).toBe(5 + 2 + 7);
  });

  test("its callbacks are called once, with the end's result", async () => {
    const { add, note } = tasks();
    const replaced = replacer<number>((value) => chain(add.s(value, 1), add.s(10)));
    await begin();
    const { signature } = replaced.s(1).link(note.s()).freeze();
    expect(await (await signature.delay()).get(get)).toBe(12);
    await expect.poll(() => seen, { timeout: 10_000 }).toEqual([12]);
  });

  test("its error callbacks are called once, with its id, and its chord fails", async () => {
    const { add, fail, sum, note } = tasks();
    const replaced = replacer<number>(() => chain(fail.si(), add.s(1)));
    await begin();
    const member = replaced.s(1).onError(note.s()).freeze("the-replaced");
    const result = await chord([member.signature, add.s(1, 1)], sum.s()).delay();
    await expect(result.get(get)).rejects.toThrow(/the-replaced/);
    await expect(member.result.get(get)).rejects.toThrow("boom");
    await expect.poll(() => seen.length, { timeout: 10_000 }).toBe(1);
  });

  test("what cannot stand in its place fails it", async () => {
    tasks();
    const replaced = replacer<number>(() => chain([]) as unknown as WholeSignature);
    await begin();
    await expect((await replaced.delay(1)).get(get)).rejects.toThrow(/chain of nothing/);
  });
});

describe("addToChord", () => {
  test("the body waits for the added member too", async () => {
    const { add, sum } = tasks();
    const adding = app.task({
      name: "adding",
      async run(ctx, value: number) {
        await ctx.addToChord(add.s(value, 10));
        await ctx.addToChord(chain(add.s(value, 20), add.s(100)));
        const later = await ctx.addToChord(add.s(value, 1000), { lazy: true });
        await later.delay();
        return value;
      },
    });
    await begin();
    expect(await (await chord([adding.s(1), add.s(1, 1)], sum.s()).delay()).get(get)).toBe(1 + 2 + 11 + 121 + 1001);
  });

  test("only a member of a chord may", async () => {
    const { add } = tasks();
    const adding = app.task({ name: "adding", run: async (ctx) => void (await ctx.addToChord(add.s(1, 1))) });
    await begin();
    await expect((await adding.delay()).get(get)).rejects.toThrow(/no member of a chord/);
  });
});

test("a task's document names what it sent: tasks, the first step of a chain, groups whole, a chord's header and body", async () => {
  const { add, sum } = tasks();
  const sender = app.task("sender", async () => {
    const one = await add.delay(1, 1);
    const line = await chain(add.s(1, 1), add.s(1)).delay();
    const many = await group([add.s(1, 1), add.s(2, 2)]).delay();
    const whole = await chord([add.s(1, 1), add.s(2, 2)], sum.s()).delay();
    return [one.id, line.parent?.id, many.id, whole.parent?.id, whole.id];
  });
  await begin();
  const result = await sender.delay();
  const ids = await result.get(get);
  const { children } = (await result.info()) ?? {};
  expect(children?.map((child) => (child as [[string]])[0][0])).toEqual(ids);
  expect(children?.map((child) => (child as [unknown, unknown[] | null])[1]?.length)).toEqual([undefined, undefined, 2, 2, undefined]);
});
