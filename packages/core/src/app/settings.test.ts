import * as fc from "fast-check";
import { expect, test } from "vitest";
import { readEnvironment } from "./environment.ts";
import { SettingError } from "./errors.ts";
import { MASK } from "./secrets.ts";
import { environmentName, resolveSettings, resolvedName, settingNames, settingOf, snakeCase, type SettingsLayer } from "./settings.ts";

const code = (values: Record<string, unknown>): SettingsLayer => ({ origin: "the code", values });
const resolve = (values: Record<string, unknown>) => resolveSettings([code(values)], "CELERY").settings;
const fromEnv = (env: Record<string, string>) => resolveSettings([readEnvironment(env, "CELERY").layer], "CELERY").settings;

function problem(run: () => unknown): SettingError {
  try {
    run();
  } catch (error) {
    if (error instanceof SettingError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

test("every default is a value that its own setting accepts", () => {
  const settings = resolve({}) as unknown as Record<string, unknown>;
  expect(settingNames().filter((name) => !(resolvedName(name) in settings))).toEqual([]);
});

test("defaults are ours where Celery's would lose work", () => {
  const settings = resolve({});
  expect(settings).toMatchObject({
    taskAcksLate: true,
    taskRejectOnWorkerLost: true,
    workerPrefetchMultiplier: 1,
    publishTimeoutMs: 5000,
    maxDeliveries: 5,
    shutdownGraceMs: 25_000,
    unknownTaskTtlMs: 600_000,
    leaseTimeMs: 10_000,
    resultExpiresMs: 86_400_000,
    taskDefaultRetryDelayMs: 180_000,
    taskDefaultMaxRetries: 3,
    acceptContent: ["json"],
  });
  expect(Object.isFrozen(settings)).toBe(true);
});

test('preset "celery" is Celery\'s own, and anything explicit wins over a preset', () => {
  expect(resolve({ preset: "celery" })).toMatchObject({ taskAcksLate: false, taskRejectOnWorkerLost: false, workerPrefetchMultiplier: 4 });
  expect(resolve({ preset: "celery", taskAcksLate: true }).taskAcksLate).toBe(true);
  expect(resolve({ preset: "production" })).toMatchObject({ taskTimeLimitMs: 1_800_000, taskSoftTimeLimitMs: 1_500_000 });
});

test("the first layer that has a setting wins, and its origin is remembered", () => {
  const { settings, origins } = resolveSettings(
    [
      { origin: "the environment", values: { CELERY_TASK_TIME_LIMIT: "5" }, isText: true },
      { origin: "/srv/lovage.config.ts", values: { task_time_limit: 6, timezone: "Europe/London" } },
      code({ taskTimeLimit: 7, timezone: "UTC", taskDefaultQueue: "main" }),
    ],
    "CELERY",
  );
  expect(settings).toMatchObject({ taskTimeLimitMs: 5000, timezone: "Europe/London", taskDefaultQueue: "main" });
  expect(origins.get("taskTimeLimit")).toBe("the environment");
  expect(origins.get("timezone")).toBe("/srv/lovage.config.ts");
  expect(origins.get("taskDefaultQueue")).toBe("the code");
  expect(origins.has("taskAcksLate")).toBe(false);
});

test("each setting is found by camelCase, snake_case and its variable", () => {
  fc.assert(
    fc.property(fc.constantFrom(...settingNames()), (name) => {
      const value = settingOf(name).default;
      for (const spelling of [name, snakeCase(name), environmentName(name, "CELERY")])
        expect(() => resolve({ [spelling]: value })).not.toThrow();
    }),
  );
});

test.each([
  ["CELERY_TASK_ACKS_LATE", "false", "taskAcksLate", false],
  ["CELERY_TASK_ACKS_LATE", "1", "taskAcksLate", true],
  ["CELERY_TASK_TIME_LIMIT", "90s", "taskTimeLimitMs", 90_000],
  ["CELERY_TASK_TIME_LIMIT", "None", "taskTimeLimitMs", null],
  ["CELERY_RESULT_EXPIRES", "0", "resultExpiresMs", 0],
  ["CELERY_ACCEPT_CONTENT", "json, yaml", "acceptContent", ["json", "yaml"]],
  ["CELERY_ACCEPT_CONTENT", '["json"]', "acceptContent", ["json"]],
  ["CELERY_WORKER_CONCURRENCY", "8", "workerConcurrency", 8],
  ["CELERY_TASK_DEFAULT_DELIVERY_MODE", "transient", "taskDefaultDeliveryMode", 1],
  [
    "CELERY_BROKER_TRANSPORT_OPTIONS",
    '{"visibility_timeout": 60, "globalKeyprefix": "x:"}',
    "brokerTransportOptions",
    { visibility_timeout: 60, global_keyprefix: "x:" },
  ],
])("%s=%s is %s %j", (variable, written, name, value) => {
  expect(fromEnv({ [variable]: written })).toHaveProperty(name, value);
});

test.each([
  [{ taskTimelimit: 5 }, "taskTimelimit", "taskTimeLimit"],
  [{ task_time_limitt: 5 }, "task_time_limitt", "task_time_limit"],
  [{ brokerUri: "x" }, "brokerUri", "brokerUrl"],
])("an unknown name is refused with the nearest one: %j", (values, written, meant) => {
  const error = problem(() => resolve(values));
  expect(error.setting).toBe(written);
  expect(error.message).toBe(`${written} in the code is not a setting. Did you mean "${meant}"?`);
});

test("a mistyped variable is refused in its own spelling; one that resembles nothing is another program's", () => {
  expect(problem(() => fromEnv({ CELERY_TASK_TIMELIMITS: "5" })).message).toBe(
    'CELERY_TASK_TIMELIMITS in the environment is not a setting. Did you mean "CELERY_TASK_TIME_LIMIT"?',
  );
  const { layer, foreign } = readEnvironment({ CELERY_FLOWER_PASSWORD: "x", CELERY_CONFIG_MODULE: "y", PATH: "/bin" }, "CELERY");
  expect(layer.values).toEqual({});
  expect(foreign).toEqual(["CELERY_FLOWER_PASSWORD"]);
});

test("names from before Celery 4 and stores that do not exist here are answered by name", () => {
  expect(problem(() => fromEnv({ CELERY_TASK_RESULT_EXPIRES: "5" })).message).toContain("it is called CELERY_RESULT_EXPIRES now");
  expect(problem(() => resolve({ cassandra_servers: [] })).message).toContain("results cannot be kept in Cassandra");
  expect(problem(() => fromEnv({ CELERY_S3_BUCKET: "b" })).message).toContain("results cannot be kept in S3");
});

test.each([
  [
    { taskTimeLimit: "soon" },
    'taskTimeLimit in the code is "soon", which is not accepted: it takes a number of seconds, or a text such as "250ms"',
  ],
  [{ taskAcksLate: "yes" }, "it takes true or false"],
  [{ timezone: "Mars/Olympus" }, 'it takes an IANA name such as "Europe/London"'],
  [{ taskDefaultQueue: "" }, "it takes a text that is not empty"],
  [{ workerConcurrency: 0 }, "it takes a whole number from 1 to 100000, or null"],
  [{ taskDefaultExchangeType: "headers" }, 'it takes one of "direct", "topic", "fanout"'],
  [{ brokerTransportOptions: { visibility_timeout: 1.5 } }, "visibility_timeout is a whole number of seconds above 0"],
  [{ brokerTransportOptions: { visibility_timeout: "1h" } }, "visibility_timeout is a whole number of seconds above 0"],
  [{ taskPublishRetryPolicy: { maxTries: 3 } }, 'it has an unknown key "maxTries"'],
  [{ taskRoutes: { "a.b": { que: "x" } } }, 'the route of a.b has an unknown key "que"'],
  [{ taskQueues: [{ exchange: "x" }] }, "item 0 has no name"],
])("a value that is not accepted is shown with what is: %j", (values, text) => {
  const error = problem(() => resolve(values));
  expect(error.message).toContain(text);
  expect(error.message).toContain("in the code");
});

test("secrets do not appear in errors", () => {
  const error = problem(() => resolve({ redisPassword: 12345 }));
  expect(error.message).toContain(MASK);
  expect(error.message).not.toContain("12345");
  const twice = problem(() => resolve({ broker_url: 5, brokerUrl: "redis://:hunter2@h/0" }));
  expect(twice.message).not.toContain("hunter2");
});

test("a setting that is given twice in one place is refused", () => {
  expect(problem(() => resolve({ task_time_limit: 1, taskTimeLimit: 2 })).message).toBe(
    "task_time_limit and taskTimeLimit in the code are the same setting: keep one of them",
  );
});

test("settings without effect here are accepted and reported", () => {
  const { unused } = resolveSettings([code({ workerHijackRootLogger: false, workerLogfile: "/var/log/x" })], "CELERY");
  expect(unused.map((each) => each.name)).toEqual(["workerHijackRootLogger", "workerLogfile"]);
});

test("a variable that is set to nothing is not set", () => {
  expect(fromEnv({ CELERY_BROKER_URL: "", CELERY_TASK_DEFAULT_QUEUE: "" })).toMatchObject({ brokerUrl: null, taskDefaultQueue: "celery" });
});

test("another namespace", () => {
  const { layer } = readEnvironment({ SHOP_TASK_TIME_LIMIT: "5", CELERY_TASK_TIME_LIMIT: "6" }, "SHOP");
  expect(resolveSettings([layer], "SHOP").settings.taskTimeLimitMs).toBe(5000);
});
