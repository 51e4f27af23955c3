/** What callers see of a workflow that workers have run: its tree, its chord, many results at once. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { chain, chord, group } from "../app/compose.ts";
import { ChordResult } from "../app/chord-result.ts";
import type { AnyResult } from "../app/group-result.ts";
import { memoryApp } from "../testing/memory-app.ts";
import { Worker } from "./worker.ts";

let app: ReturnType<typeof memoryApp>;
let worker: Worker;

beforeEach(() => {
  app = memoryApp({ resultExtended: true });
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
  return { add, sum, fail };
}

async function begin(): Promise<void> {
  worker = new Worker(app, { concurrency: 4 });
  await worker.start();
}

const get = { timeout: "10s" } as const;

async function valuesOf(result: AnyResult | undefined, options = {}): Promise<unknown[]> {
  const values: unknown[] = [];
  if (result !== undefined) for await (const { value } of result.collect({ ...get, ...options })) values.push(value);
  return values;
}

test("collect gives a tree level by level, in order, each task once", async () => {
  const { add, sum } = tasks();
  const outer = app.task("outer", async () => {
    await add.delay(1, 2);
    await chain(add.s(1, 1), add.s(5)).delay();
    await group([add.s(10, 1), add.s(20, 1)]).delay();
    await chord([add.s(100, 1), add.s(200, 1)], sum.s()).delay();
    return "outer";
  });
  await begin();
  expect(await valuesOf(await outer.delay())).toEqual(["outer", 3, 2, [11, 21], [101, 201], 302, 7, 11, 21, 101, 201]);
});

test("collect throws what a task below failed with, or gives it", async () => {
  const { fail } = tasks();
  const outer = app.task("outer", async () => void (await fail.delay()));
  await begin();
  const result = await outer.delay();
  await expect(valuesOf(result)).rejects.toThrow("boom");
  expect(await valuesOf(result, { propagate: false })).toEqual([
    null,
    expect.objectContaining({ message: expect.stringContaining("boom") }),
  ]);
});

describe("graph", () => {
  test("shows the whole that a result is part of, as data and for Graphviz", async () => {
    const { add, sum } = tasks();
    await begin();
    const result = await chain(add.s(1, 1), group([add.s(2), add.s(3)]), sum.s()).delay();
    await result.get(get);
    const graph = await result.graph();
    expect(graph.nodes.map(({ kind, task, state }) => [kind, task, state])).toEqual([
      ["task", "add", "SUCCESS"],
      ["group", undefined, undefined],
      ["task", "sum", "SUCCESS"],
      ["task", "add", "SUCCESS"],
      ["task", "add", "SUCCESS"],
    ]);
    const header = result.parent?.id as string;
    expect(graph.edges).toContainEqual({ from: header, to: result.id });
    expect(graph.edges.filter(({ from }) => from === header)).toHaveLength(3);
    expect(graph.toDot()).toContain(`"${header}" -> "${result.id}";`);
    expect(graph.toDot()).toContain(`"${result.id}" [label="sum\\nSUCCESS"];`);
    expect((await result.graph({ limit: 2 })).isCut).toBe(true);
  });

  test("of what has not ended is refused, unless what is known so far is asked for", async () => {
    const { add } = tasks();
    const result = await chain(add.s(1, 1), add.s(2)).delay();
    await expect(result.graph()).rejects.toMatchObject({ code: "INCOMPLETE_STREAM", state: "PENDING" });
    expect((await result.graph({ intermediate: true })).nodes.map(({ state }) => state)).toEqual(["PENDING", "PENDING"]);
    await begin();
    await result.get(get);
  });
});

test("a chord's result knows its header and how far that is", async () => {
  const { add, fail, sum } = tasks();
  const result = await chord([add.s(1, 1), fail.s(), add.s(2, 2)], sum.s()).delay();
  expect(result).toBeInstanceOf(ChordResult);
  expect(await result.counts()).toEqual({ total: 3, succeeded: 0, failed: 0 });
  await begin();
  await expect(result.get(get)).rejects.toThrow("boom");
  await expect.poll(() => result.counts(), { timeout: 10_000 }).toEqual({ total: 3, succeeded: 2, failed: 1 });
  expect(result.header.length).toBe(3);
  const again = app.resultFrom(JSON.parse(JSON.stringify(result.asTuple())));
  expect(again).toBeInstanceOf(ChordResult);
});

test("a failed member ends the waiting for all others", async () => {
  const { add, fail } = tasks();
  const warnings: Error[] = [];
  const listen = (warning: Error): void => void warnings.push(warning);
  process.on("warning", listen);
  const never = add.s(1, 1).set({ queue: "nobody" });
  const result = await group([fail.s(), ...Array.from({ length: 30 }, () => never)]).delay();
  await begin();
  await expect(result.get({ timeout: null })).rejects.toThrow("boom");
  await new Promise(setImmediate);
  process.off("warning", listen);
  expect(warnings).toEqual([]);
  expect(result.page(1, 5).length).toBe(5);
  expect(await result.page(0, 1).failed()).toBe(true);
});
