import { expect, test } from "vitest";
import { purgeWithLocks, type UniqueLock, type Uniques } from "./uniques.ts";

test("a purge frees the locks of all that it discards, however many they are", async () => {
  const count = 25_000;
  const held = new Map(Array.from({ length: count }, (_, i) => [`t:${i}`, lock(`t:${i}`, `m${i}`)]));
  const asked: Pick<Uniques, "list" | "step"> = {
    list: async ({ limit }) => [...held.values()].slice(0, limit),
    async step(steps) {
      for (const { name } of steps) held.delete(name);
    },
  };
  const uniques = asked as Uniques; // nothing else of it is asked
  const search = { async *messages() {} };
  expect(await purgeWithLocks(uniques, search, "q", async () => count)).toBe(count);
  expect(held.size).toBe(0);
});

const lock = (name: string, taskId: string): UniqueLock => ({
  name,
  taskId,
  mode: "done",
  queue: "q",
  since: 0,
  until: 1,
  nextTaskId: undefined,
  worker: undefined,
});
