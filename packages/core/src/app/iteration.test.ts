import fc from "fast-check";
import { expect, test } from "vitest";

import { FakeClock } from "../testing/fake-clock.ts";
import { type IterateOptions, type IterationServices, Iterations } from "./iteration.ts";
import { counted, eachOf, pages, range, rowsByKey } from "./iteration-sources.ts";
import { Interruption } from "./task-signals.ts";

interface Slice {
  /** How many steps are done before it is interrupted; more than there are: it is not. */
  readonly steps: number;
}

function services(clock: FakeClock, saved: string[] = []): IterationServices {
  return { clock, checkpoint: async (text) => void saved.push(text), progress: async () => undefined };
}

/** Runs a body until it ends or is interrupted after so many steps; returns what its message would carry along. */
async function slice(text: string | undefined, { steps }: Slice, body: (iterations: Iterations, step: () => void) => Promise<void>) {
  const iterations = new Iterations("test", text, services(new FakeClock()));
  let left = steps;
  if (left === 0) iterations.interrupt();
  const step = (): void => {
    left -= 1;
    if (left === 0) iterations.interrupt();
  };
  try {
    await body(iterations, step);
    return { text: iterations.text, isOver: true };
  } catch (error) {
    if (!(error instanceof Interruption)) throw error;
    return { text: iterations.text, isOver: false };
  }
}

test("each step is done once and in order, wherever it is interrupted", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 12 }), fc.integer({ min: 0, max: 9 }), async (cuts, size) => {
      const list = Array.from({ length: size }, (_, i) => `item ${i}`);
      const done: string[] = [];
      let text: string | undefined;
      for (const steps of [...cuts, Number.POSITIVE_INFINITY]) {
        const ended = await slice(text, { steps }, async (iterations, step) => {
          for await (const item of iterations.begin(eachOf(list))) {
            done.push(item);
            step();
          }
          for await (const number of iterations.begin(range(0, 3))) {
            done.push(`second ${number}`);
            step();
          }
        });
        text = ended.text;
        if (ended.isOver) break;
      }
      expect(done).toEqual([...list, "second 0", "second 1", "second 2"]);
    }),
  );
});

test("an iteration inside a step goes on inside of it, and begins anew in the next step", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 12 }), fc.boolean(), async (cuts, isNamed) => {
      const inner: string[] = [];
      let text: string | undefined;
      for (const steps of [...cuts, Number.POSITIVE_INFINITY]) {
        const ended = await slice(text, { steps }, async (iterations, step) => {
          for await (const outer of iterations.begin(range(0, 3)))
            for await (const number of iterations.begin(range(0, 2), isNamed ? { name: "inner" } : {})) {
              inner.push(`${outer}.${number}`);
              step();
            }
        });
        text = ended.text;
        if (ended.isOver) break;
      }
      expect(inner).toEqual(["0.0", "0.1", "1.0", "1.1", "2.0", "2.1"]);
    }),
  );
});

test("a step that throws is not counted as done", async () => {
  const iterations = new Iterations("test", undefined, services(new FakeClock()));
  const steps = iterations.begin(eachOf(["a", "b", "c"]));
  const failing = async (): Promise<void> => {
    for await (const item of steps) if (item === "b") throw new Error("b");
  };
  await expect(failing()).rejects.toThrow("b");
  expect(steps.done).toBe(1);
  const again = new Iterations("test", iterations.text, services(new FakeClock()));
  const seen: string[] = [];
  for await (const item of again.begin(eachOf(["a", "b", "c"]))) seen.push(item);
  expect(seen).toEqual(["b", "c"]);
});

test("checkpoints come as often as asked for, with the cursor of the last step that is done", async () => {
  const clock = new FakeClock();
  const saved: string[] = [];
  const iterations = new Iterations("test", undefined, services(clock, saved));
  for await (const number of iterations.begin(range(0, 10), { checkpointEvery: "1s" })) {
    void number;
    await clock.advance(400);
  }
  const cursors = saved.map((text) => (JSON.parse(text) as Record<string, { cursor: number }>)["0"]?.cursor);
  expect(cursors).toEqual([3, 6, 9]);
});

test("maxRuntime ends a slice at the back of the queue, and never before a step was done", async () => {
  const clock = new FakeClock();
  const iterations = new Iterations("test", undefined, services(clock));
  const done: number[] = [];
  const run = async (options: IterateOptions): Promise<void> => {
    for await (const number of iterations.begin(range(0, 10), options)) {
      done.push(number);
      await clock.advance(600);
    }
  };
  await expect(run({ maxRuntime: "1s" })).rejects.toMatchObject({ kind: "interruption", to: "back" });
  expect(done).toEqual([0, 1]);
  const late = new Iterations("test", iterations.text, services(clock));
  await clock.advance(5000); // the source was slow
  const next = late.begin(range(0, 10), { maxRuntime: "1s" })[Symbol.asyncIterator]();
  expect(await next.next()).toEqual({ done: false, value: 2 });
  await expect(next.next()).rejects.toMatchObject({ to: "back" });
});

test("an interruption does not wait for a source that has nothing to give, and closes it", async () => {
  const iterations = new Iterations("test", undefined, services(new FakeClock()));
  let isClosed = false;
  const source = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<IteratorResult<readonly [string, number]>>(() => undefined),
      return: async () => ((isClosed = true), { done: true as const, value: undefined }),
    }),
  };
  const steps = iterations.begin(() => source)[Symbol.asyncIterator]();
  const next = steps.next();
  await new Promise((resolve) => setImmediate(resolve));
  iterations.interrupt();
  await expect(next).rejects.toMatchObject({ kind: "interruption", to: "front" });
  expect(isClosed).toBe(true);
});

test("a cursor that is no JSON, or too large, is an error of the task", async () => {
  const of = async (cursor: unknown): Promise<void> => {
    const iterations = new Iterations("test", undefined, services(new FakeClock()));
    for await (const item of iterations.begin(() => [["a", cursor] as const, ["b", cursor] as const]))
      if (item === "a") iterations.interrupt();
  };
  await expect(of(undefined)).rejects.toThrow("an iteration of test was given an item without a cursor");
  await expect(of({ at: new Map() })).rejects.toThrow(/cursors/);
  await expect(of("x".repeat(70_000))).rejects.toThrow(/the cursor of test takes 700\d\d characters/);
  await expect(of({ any: ["JSON", 1, null] })).rejects.toBeInstanceOf(Interruption);
});

test("a header that is none of ours begins anew", async () => {
  for (const text of [7, "", "[", '{"0": 1}']) {
    const seen: number[] = [];
    for await (const number of new Iterations("test", text, services(new FakeClock())).begin(range(0, 2))) seen.push(number);
    expect(seen).toEqual([0, 1]);
  }
});

test("steps that wait for nothing let the event loop turn", async () => {
  let turns = 0;
  let isOver = false;
  const turn = (): void => {
    turns += 1;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  const clock = new FakeClock();
  for await (const number of new Iterations("test", undefined, services(clock)).begin(range(0, 300))) {
    void number;
    await clock.advance(1);
  }
  isOver = true;
  expect(turns).toBeGreaterThan(5);
});

test("rows by key, pages and counted items go on after the last that is done", async () => {
  const collect = async <Item, Cursor>(
    source: (cursor: Cursor | undefined) => AsyncIterable<readonly [Item, Cursor]> | Iterable<readonly [Item, Cursor]>,
    cursor?: Cursor,
  ) => {
    const steps: (readonly [Item, Cursor])[] = [];
    for await (const step of source(cursor)) steps.push(step);
    return steps;
  };
  const rows = [1, 4, 7, 9].map((id) => ({ id }));
  const byKey = rowsByKey(
    async (after: number | undefined) => rows.filter(({ id }) => id > (after ?? 0)).slice(0, 2),
    ({ id }) => id,
  );
  expect((await collect(byKey)).map(([, cursor]) => cursor)).toEqual([1, 4, 7, 9]);
  expect((await collect(byKey, 4)).map(([row]) => row.id)).toEqual([7, 9]);

  const paged = pages(async (next: number | undefined) => ({ items: [next ?? 0], next: (next ?? 0) < 2 ? (next ?? 0) + 1 : undefined }));
  expect(await collect(paged)).toEqual([[[0], { next: 1 }], [[1], { next: 2 }], [[2], "end"]]); // prettier-ignore
  expect(await collect(paged, { next: 2 })).toEqual([[[2], "end"]]);
  expect(await collect(paged, "end" as const)).toEqual([]);

  expect(await collect(counted(() => ["a", "b", "c"]), 1)).toEqual([["b", 2], ["c", 3]]); // prettier-ignore
});
