/** Whole workflows through a worker, in memory: what runs, with what, and what those who wait are told. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { chain, chord, chunks, group, map, starmap } from "../app/compose.ts";
import { ChordError } from "../protocol/celery-errors.ts";
import { memoryApp } from "../testing/memory-app.ts";
import { Worker } from "./worker.ts";

let app: ReturnType<typeof memoryApp>;
let worker: Worker;
const seen: unknown[] = [];

beforeEach(async () => {
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
  const fail = app.task("fail", (text: string): number => {
    throw new RangeError(text);
  });
  const note = app.task("note", (what: unknown) => void seen.push(what));
  return { add, sum, fail, note };
}

async function begin(): Promise<void> {
  worker = new Worker(app, { concurrency: 4 });
  await worker.start();
}

const get = { timeout: "10s" } as const;

describe("shapes", () => {
  test("a chain hands each result to the next step", async () => {
    const { add } = tasks();
    await begin();
    const result = await chain(add.s(1, 1), add.s(2), add.s(3)).delay();
    expect(await result.get(get)).toBe(7);
    expect(await result.parent?.get(get)).toBe(4);
    expect(await result.parent?.parent?.get(get)).toBe(2);
  });

  test("a group gives its results in order", async () => {
    const { add } = tasks();
    await begin();
    const result = await group([add.s(1, 1), add.s(2, 2), chain(add.s(1, 2), add.s(3))]).delay();
    expect(await result.get(get)).toEqual([2, 4, 6]);
    expect(await result.successful()).toBe(true);
    expect(await result.completedCount()).toBe(3);
  });

  test("a chord calls its body once with all results", async () => {
    const { add, sum } = tasks();
    await begin();
    expect(await (await chord([add.s(1, 1), add.s(2, 2)], sum.s()).delay()).get(get)).toBe(6);
  });

  test("a chord of one gives its body a list", async () => {
    const { add, sum } = tasks();
    await begin();
    expect(await (await chord([add.s(1, 1)], sum.s()).delay()).get(get)).toBe(2);
  });

  test("a chord of nothing gives its body an empty list", async () => {
    const { sum } = tasks();
    await begin();
    expect(await (await chord([] as ReturnType<typeof sum.s<[readonly number[]]>>[], sum.s()).delay()).get(get)).toBe(0);
  });

  test("a group in the middle of a chain is a chord's header, and the chain goes on after its body", async () => {
    const { add, sum } = tasks();
    await begin();
    const result = await chain(add.s(1, 1), group([add.s(2), add.s(3)]), sum.s(), add.s(100)).delay();
    expect(await result.get(get)).toBe(109);
  });

  test("chords in chords", async () => {
    const { add, sum } = tasks();
    await begin();
    const inner = (n: number) => chord([add.s(n, 1), add.s(n, 2)], sum.s());
    const result = await chord([inner(1), inner(10), chain(add.s(1, 1), inner2())], chain(sum.s(), add.s(1000))).delay();
    function inner2() {
      return chain(group([add.s(5), add.s(6)]), sum.s());
    }
    expect(await result.get(get)).toBe(5 + 23 + 15 + 1000);
  });

  test("a header whose member ends in a group gives its body a list in the list", async () => {
    const { add, note } = tasks();
    await begin();
    await (await chord([chain(add.s(1, 1), group([add.s(2), add.s(3)])), add.s(1, 2)], note.s()).delay()).get(get);
    expect(seen).toEqual([[[4, 5], 3]]);
  });

  test("chunks, map and starmap", async () => {
    const { add, sum } = tasks();
    await begin();
    expect(await (await chunks(add.s(), [[0, 0], [1, 1], [2, 2]], 2).delay()).get(get)).toEqual([[0, 2], [4]]); // prettier-ignore
    expect(await (await map(sum.s(), [[1, 2], [3]]).delay()).get(get)).toEqual([3, 3]); // prettier-ignore
    expect(await (await starmap(add.s(), [[1, 2], [3, 4]]).delay()).get(get)).toEqual([3, 7]); // prettier-ignore
  });

  test("callbacks get the result, an immutable one keeps its arguments", async () => {
    const { add, note } = tasks();
    await begin();
    await (await chain(add.s(1, 1).link(note.s(), note.si("done")), add.s(1)).delay()).get(get);
    await expect.poll(() => seen.length, { timeout: 10_000 }).toBe(2);
    expect(new Set(seen)).toEqual(new Set([2, "done"]));
  });
});

describe("failures", () => {
  test("a failed step fails all that come after it, and calls the error callback once with its id", async () => {
    const { add, fail, note } = tasks();
    await begin();
    const failing = fail.s("boom").freeze("the-failing");
    const result = await chain(add.s(1, 1).asImmutable(), failing.signature.asImmutable(), add.s(1), add.s(2)).onError(note.s()).delay();
    await expect(result.get(get)).rejects.toThrow("boom");
    await expect(result.parent?.get(get)).rejects.toThrow("boom");
    await expect.poll(() => seen, { timeout: 10_000 }).toEqual(["the-failing"]);
  });

  test("an error callback that takes three arguments is given what failed, the error and its traceback", async () => {
    const { add, fail, sum } = tasks();
    type Told = [{ id: string; rootId: string }, { exc_type: string; exc_message: unknown }, string | null];
    const details = app.task(
      "details",
      (request: Told[0], error: Told[1], traceback: Told[2]) => void seen.push([request, error, traceback]),
    );
    await begin();
    const result = await fail.s("boom").onError(details.s()).delay();
    await expect.poll(() => seen, { timeout: 10_000 }).toHaveLength(1);
    expect(seen[0]).toEqual([
      { id: result.id, rootId: result.id },
      { exc_type: "ValueError", exc_message: ["boom"], exc_module: "builtins" },
      expect.stringContaining("RangeError: boom"),
    ]);
    const whole = await chord([fail.s("boom"), add.s(1, 1)], sum.s().onError(details.s())).delay();
    await expect.poll(() => seen, { timeout: 10_000 }).toHaveLength(2);
    expect(seen[1]).toMatchObject([{ id: whole.id }, { exc_type: "ChordError" }, null]);
  });

  test("a failed member fails the body with a ChordError, and calls the body's error callback", async () => {
    const { add, fail, sum, note } = tasks();
    await begin();
    const result = await chord([add.s(1, 1), fail.s("boom")], sum.s().onError(note.s())).delay();
    await expect(result.get(get)).rejects.toThrow(ChordError);
    await expect(result.get(get)).rejects.toThrow(/raised ValueError\('boom'\)/);
    await expect.poll(() => seen, { timeout: 10_000 }).toEqual([result.id]);
  });

  test("a failed chord in a header fails the chord around it", async () => {
    const { add, fail, sum } = tasks();
    await begin();
    const result = await chord([add.s(1, 1), chord([fail.s("boom"), add.s(1, 1)], sum.s())], sum.s()).delay();
    await expect(result.get(get)).rejects.toThrow(ChordError);
  });

  test("a chain in a header that fails at its first step reports", async () => {
    const { add, fail, sum } = tasks();
    await begin();
    const result = await chord([add.s(1, 1), chain(fail.s("boom"), add.s(1), add.s(2))], sum.s()).delay();
    await expect(result.get(get)).rejects.toThrow(ChordError);
  });

  test("an expired member reports", async () => {
    const { add, sum } = tasks();
    const result = await chord([add.s(1, 1), add.s(1, 2).set({ expires: new Date(Date.now() - 1000) })], sum.s()).delay();
    await begin();
    await expect(result.get(get)).rejects.toThrow(/TaskRevokedError/);
  });
});
