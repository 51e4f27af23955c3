import { describe, expect, test } from "vitest";

import { countByQueue, QueueTurns, type TakePlan } from "./queue-order.ts";

const all = (): boolean => true;

/** Queues with so many messages each; takes as a broker does. */
class Store {
  readonly left: Map<string, number>;

  constructor(left: Readonly<Record<string, number>>) {
    this.left = new Map(Object.entries(left));
  }

  take(plan: TakePlan, want: number): string[] {
    const taken: string[] = [];
    for (const { queue, most } of plan.steps) {
      const count = Math.min(most, this.left.get(queue) ?? 0, want - taken.length);
      this.left.set(queue, (this.left.get(queue) ?? 0) - count);
      for (let i = 0; i < count; i++) taken.push(queue);
    }
    return taken;
  }
}

function rounds(turns: QueueTurns, store: Store, count: number, want: number): ReadonlyMap<string, number> {
  const taken: string[] = [];
  for (let i = 0; i < count; i++) {
    const plan = turns.plan(want, all);
    const now = store.take(plan, want);
    turns.took(plan, countByQueue(now.map((queue) => ({ queue }))));
    taken.push(...now);
  }
  return countByQueue(taken.map((queue) => ({ queue })));
}

const LONG = { a: 1e6, b: 1e6, c: 1e6 };
const WEIGHTS = new Map([["a", 6], ["b", 3], ["c", 1]]); // prettier-ignore
const weighted = (): QueueTurns => new QueueTurns({ kind: "weighted", weights: WEIGHTS }, ["a", "b", "c"]);

describe("weighted", () => {
  test.each([1, 3, 7, 10, 100])("%i at a time, the shares are those of the weights", (want) => {
    const counts = rounds(weighted(), new Store(LONG), 1000, want);
    const total = 1000 * want;
    expect(Math.abs((counts.get("a") ?? 0) - 0.6 * total)).toBeLessThanOrEqual(2);
    expect(Math.abs((counts.get("b") ?? 0) - 0.3 * total)).toBeLessThanOrEqual(2);
    expect(Math.abs((counts.get("c") ?? 0) - 0.1 * total)).toBeLessThanOrEqual(2);
  });

  test("one reserve is shared already, so that no queue has all slots", () => {
    expect(rounds(weighted(), new Store(LONG), 1, 10)).toEqual(new Map([["a", 6], ["b", 3], ["c", 1]])); // prettier-ignore
  });

  test("the least of them waits for no more than a round of the others", () => {
    const turns = weighted();
    let sinceLast = 0;
    let longest = 0;
    for (let i = 0; i < 1000; i++) {
      sinceLast = rounds(turns, new Store(LONG), 1, 1).has("c") ? 0 : sinceLast + 1;
      longest = Math.max(longest, sinceLast);
    }
    expect(longest).toBeLessThanOrEqual(10);
  });

  test("who has nothing leaves its share to the others, and saves nothing up", () => {
    const turns = weighted();
    const store = new Store({ a: 0, b: 1e6, c: 1e6 });
    expect(Math.abs((rounds(turns, store, 100, 8).get("c") ?? 0) - 200)).toBeLessThanOrEqual(2);
    store.left.set("a", 1e6);
    const after = rounds(turns, store, 100, 10);
    expect(Math.abs((after.get("c") ?? 0) - 100)).toBeLessThanOrEqual(6);
    expect(Math.abs((after.get("b") ?? 0) - 300)).toBeLessThanOrEqual(6);
  });

  test("who was alone for long owes nothing when the others come", () => {
    const turns = weighted();
    const store = new Store({ a: 0, b: 0, c: 1e6 });
    expect(rounds(turns, store, 1000, 10).get("c")).toBe(10_000);
    store.left.set("a", 1e6).set("b", 1e6);
    expect(rounds(turns, store, 10, 10).get("c")).toBeGreaterThanOrEqual(9);
  });

  test("several under way at once share as one after the other do, and one that failed costs nobody", () => {
    const turns = weighted();
    const store = new Store(LONG);
    const counts = new Map<string, number>();
    for (let i = 0; i < 250; i++) {
      const plans = [1, 2, 3, 4].map(() => turns.plan(3, all));
      turns.dropped(turns.plan(50, (queue) => queue === "a"));
      for (const plan of plans.toReversed()) {
        const taken = countByQueue(store.take(plan, 3).map((queue) => ({ queue })));
        turns.took(plan, taken);
        for (const [queue, count] of taken) counts.set(queue, (counts.get(queue) ?? 0) + count);
      }
    }
    expect(Math.abs((counts.get("c") ?? 0) - 300)).toBeLessThanOrEqual(5);
    expect(Math.abs((counts.get("a") ?? 0) - 1800)).toBeLessThanOrEqual(5);
  });

  test("a queue that may not be taken from is left out", () => {
    const plan = weighted().plan(4, (queue) => queue !== "a");
    expect(plan.steps.map(({ queue }) => queue)).not.toContain("a");
    expect([...plan.shares.values()].reduce((sum, share) => sum + share, 0)).toBe(4);
    expect(weighted().plan(4, () => false).steps).toEqual([]);
  });

  test("a queue without a weight counts as 1", () => {
    const turns = new QueueTurns({ kind: "weighted", weights: new Map([["a", 3]]) }, ["a", "other"]);
    expect(rounds(turns, new Store({ a: 1e6, other: 1e6 }), 100, 4).get("other")).toBe(100);
  });
});

test("strict: a queue gives only when those before it have nothing", () => {
  const turns = new QueueTurns({ kind: "strict" }, ["a", "b", "c"]);
  const store = new Store({ a: 5, b: 0, c: 9 });
  expect(rounds(turns, store, 1, 4)).toEqual(new Map([["a", 4]]));
  expect(rounds(turns, store, 1, 4)).toEqual(new Map([["a", 1], ["c", 3]])); // prettier-ignore
  store.left.set("b", 2);
  expect(rounds(turns, store, 1, 4)).toEqual(new Map([["b", 2], ["c", 2]])); // prettier-ignore
});
