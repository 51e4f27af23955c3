import { expect, test } from "vitest";

import { resolveBrokerOptions } from "../../stores/redis/options.ts";
import { QueueLists } from "./lists.ts";

const shard = { prefix: "" };
const namesOf = (lists: QueueLists): string[] => lists.next().lists.map(({ list }) => list.replace("\u0006\u0016", "/"));

test("all queues at one step come before the next step, and the first queue rotates", () => {
  const lists = new QueueLists(shard, resolveBrokerOptions({ priority_steps: [0, 9] }, 0), ["a", "b", "c"]);
  const turns = [namesOf(lists), namesOf(lists), namesOf(lists), namesOf(lists)];
  expect(turns[0]).toEqual(["b", "c", "a", "b/9", "c/9", "a/9"]);
  expect(turns[1]).toEqual(["c", "a", "b", "c/9", "a/9", "b/9"]);
  expect(turns[2]).toEqual(["a", "b", "c", "a/9", "b/9", "c/9"]);
  expect(turns[3]).toEqual(turns[0]);
  expect(lists.next().groups).toEqual([3, 3]);
});

test("a fixed order takes all of a queue before the next", () => {
  const lists = new QueueLists(shard, resolveBrokerOptions({ priority_steps: [0], queue_order_strategy: "sorted" }, 0), ["c", "a", "b"]);
  expect(namesOf(lists)).toEqual(["a", "b", "c"]);
  expect(namesOf(lists)).toEqual(["a", "b", "c"]);
  expect(lists.next().groups).toEqual([1, 1, 1]);
  const asGiven = new QueueLists(shard, resolveBrokerOptions({ priority_steps: [0], queue_order_strategy: "priority" }, 0), ["c", "a"]);
  expect(namesOf(asGiven)).toEqual(["c", "a"]);
});

test("a queue named twice is consumed once", () => {
  expect(new QueueLists(shard, resolveBrokerOptions({}, 0), ["a", "a"]).all).toHaveLength(4);
});
