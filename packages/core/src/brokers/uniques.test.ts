import { expect, test } from "vitest";
import { encodeEnvelope } from "../protocol/envelope.ts";
import { encodeTaskMessage } from "../protocol/task-message.ts";
import { UNIQUE_HEADER, type UniqueMode, uniqueText } from "../protocol/unique.ts";
import { freeingStep, purgeWithLocks, type UniqueLock, type Uniques } from "./uniques.ts";

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

test("a message that ends without a worker frees its lock, unless that is held for a time", () => {
  expect(freeingStep(held("done"), "q")).toEqual({ name: "t:1", taskId: "m1", queue: "q", what: { kind: "free" } });
  expect(freeingStep(held("time"), "q")).toBeUndefined();
});

const held = (mode: UniqueMode): string => {
  const header = uniqueText({ mode, name: "t:1", ttlMs: 1000, waitMs: 0, maxWaitMs: 0 });
  const task = { id: "m1", task: "t", args: [], kwargs: {}, headers: { [UNIQUE_HEADER]: header } };
  return encodeEnvelope(encodeTaskMessage(task, { serializer: "json", now: 1 }), { exchange: "", routingKey: "q" }, "tag");
};

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
