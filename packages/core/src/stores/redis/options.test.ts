import { expect, test } from "vitest";

import { RedisConfigurationError } from "./errors.ts";
import { fanoutChannel, listKey } from "./keys.ts";
import { resolveBrokerOptions, resolveResultPrefix } from "./options.ts";

test("kombu's defaults", () => {
  expect(resolveBrokerOptions({}, 0)).toEqual({
    keyPrefix: "",
    separator: "\u0006\u0016",
    prioritySteps: [0, 3, 6, 9],
    queueOrder: "round_robin",
    fanoutPrefix: "/0.",
    fanoutPatterns: true,
    visibilityTimeoutMs: 3_600_000,
    unroutedQueue: undefined,
    unackedKey: "unacked",
    unackedIndexKey: "unacked_index",
    unackedMutexKey: "unacked_mutex",
    unackedMutexExpireMs: 300_000,
  });
});

test("options are known under either spelling", () => {
  const snake = {
    global_keyprefix: "p:",
    priority_steps: [5, 0],
    visibility_timeout: 60,
    queue_order_strategy: "sorted",
    sep: ":",
    fanout_patterns: false,
    deadletter_queue: "lost",
  };
  const camel = {
    globalKeyprefix: "p:",
    prioritySteps: [5, 0],
    visibilityTimeout: 60,
    queueOrderStrategy: "sorted",
    sep: ":",
    fanoutPatterns: false,
    deadletterQueue: "lost",
  };
  expect(resolveBrokerOptions(camel, 1)).toEqual(resolveBrokerOptions(snake, 1));
  expect(resolveBrokerOptions(snake, 1)).toMatchObject({
    keyPrefix: "p:",
    prioritySteps: [0, 5],
    visibilityTimeoutMs: 60_000,
    queueOrder: "sorted",
    separator: ":",
    unroutedQueue: "lost",
  });
});

test.each([
  [true, "/3."],
  [false, ""],
  ["/{db}-x.", "/3-x."],
])("fanout_prefix %j", (fanout_prefix, expected) => {
  expect(resolveBrokerOptions({ fanout_prefix }, 3).fanoutPrefix).toBe(expected);
});

test.each([
  ["visibility_timeout", "1h"],
  ["visibility_timeout", 1.5],
  ["visibility_timeout", 0],
  ["priority_steps", []],
  ["priority_steps", [0, 0]],
  ["priority_steps", "0,3"],
  ["queue_order_strategy", "random"],
  ["sep", ""],
  ["global_keyprefix", 1],
  ["fanout_patterns", "yes"],
])("%s = %j is refused, naming option and value", (name, value) => {
  expect(() => resolveBrokerOptions({ [name]: value }, 0)).toThrowError(RedisConfigurationError);
  expect(() => resolveBrokerOptions({ [name]: value }, 0)).toThrowError(name);
  expect(() => resolveBrokerOptions({ [name]: value }, 0)).toThrowError(JSON.stringify(value));
});

test("the result backend's prefix gets a _ unless it ends with a separator", () => {
  expect(["", "a", "a_", "a:", "a-", "a."].map((global_keyprefix) => resolveResultPrefix({ global_keyprefix }))).toEqual([
    "",
    "a_",
    "a_",
    "a:",
    "a-",
    "a.",
  ]);
});

test("names of lists and channels are kombu's", () => {
  const options = resolveBrokerOptions({ global_keyprefix: "p." }, 0);
  const shard = { prefix: options.keyPrefix, separator: options.separator };
  expect(listKey(shard, "celery", 0)).toBe("p.celery");
  expect(listKey(shard, "celery", 9)).toBe("p.celery\u0006\u00169");
  expect(fanoutChannel(shard, options, "celery.pidbox", "")).toBe("p./0.celery.pidbox");
  expect(fanoutChannel(shard, options, "celeryev", "task.multi")).toBe("p./0.celeryev/task.multi");
  expect(fanoutChannel(shard, { ...options, fanoutPatterns: false }, "celeryev", "task.multi")).toBe("p./0.celeryev");
});
