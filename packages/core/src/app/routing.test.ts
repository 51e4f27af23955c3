import { expect, test } from "vitest";
import { ConfigurationError } from "./errors.ts";
import { Exchange, Queue } from "./queues.ts";
import { RoutingTable, type RoutingOptions } from "./routing.ts";
import { resolveSettings, type SettingsInput } from "./settings.ts";

function table(settings: SettingsInput = {}): RoutingTable {
  return new RoutingTable(resolveSettings([{ origin: "the code", values: settings }], "CELERY").settings);
}

function route(settings: SettingsInput, name: string, call: RoutingOptions = {}, task: RoutingOptions = {}) {
  const { exchange, routingKey, queue, priority } = table(settings).route(name, task, call, [1], { k: 2 }, "id-1");
  return { exchange, routingKey, queue: queue?.name, priority };
}

test("without any routes, everything goes to the queue celery through the anonymous exchange", () => {
  expect(route({}, "a.b")).toEqual({ exchange: "", routingKey: "celery", queue: "celery", priority: undefined });
});

test("call, then task, then routes, then the default queue", () => {
  const settings: SettingsInput = { taskRoutes: { "a.*": "routed" }, taskDefaultQueue: "default" };
  expect(route(settings, "a.b", { queue: "called" }, { queue: "own" }).routingKey).toBe("called");
  expect(route(settings, "a.b", {}, { queue: "own" }).routingKey).toBe("own");
  expect(route(settings, "a.b").routingKey).toBe("routed");
  expect(route(settings, "b.a").routingKey).toBe("default");
});

test("routes by exact name, glob, regular expression and function, in that order of the list", () => {
  const settings: SettingsInput = {
    taskRoutes: [
      { "images.resize": { queue: "exact", priority: 3 }, "images.*": "glob" },
      [/^video\./, { queue: "regexp" }],
      (name, args, kwargs, { taskId }) =>
        name === "f" && args[0] === 1 && kwargs["k"] === 2 && taskId === "id-1" ? "function" : undefined,
      { "/^audio\\.(mp3|ogg)$/": "written" },
    ],
  };
  expect(route(settings, "images.resize")).toMatchObject({ routingKey: "exact", priority: 3 });
  expect(route(settings, "images.a.b").routingKey).toBe("glob");
  expect(route(settings, "video.cut").routingKey).toBe("regexp");
  expect(route(settings, "f").routingKey).toBe("function");
  expect(route(settings, "audio.ogg").routingKey).toBe("written");
  expect(route(settings, "other").routingKey).toBe("celery");
});

test("what a route leaves out comes from elsewhere, and the call's priority wins", () => {
  const settings: SettingsInput = { taskRoutes: { t: { queue: "q", priority: 3 } }, taskDefaultPriority: 1 };
  expect(route(settings, "t", { priority: 9 })).toMatchObject({ routingKey: "q", priority: 9 });
  expect(route(settings, "t", {}, { priority: 5 })).toMatchObject({ priority: 5 });
  expect(route(settings, "other")).toMatchObject({ priority: 1 });
});

test("a named exchange is used only when both exchange and routing key are given, or it is no direct one", () => {
  const settings: SettingsInput = {
    taskQueues: [
      new Queue("news", new Exchange("news-x", { type: "topic" }), { routingKey: "news.#" }),
      new Queue("plain", "plain-x", { routingKey: "pk" }),
    ],
  };
  expect(route(settings, "t", { queue: "plain" })).toMatchObject({ exchange: "", routingKey: "plain" });
  expect(route(settings, "t", { queue: "plain", exchange: "plain-x" })).toMatchObject({ exchange: "", routingKey: "plain" });
  expect(route(settings, "t", { exchange: "plain-x", routingKey: "pk" })).toMatchObject({ exchange: "plain-x", routingKey: "pk" });
  expect(route(settings, "t", { queue: "news" })).toMatchObject({ exchange: "news-x", routingKey: "news.#" });
  expect(route(settings, "t", { queue: "news", routingKey: "news.uk" })).toMatchObject({ exchange: "news-x", routingKey: "news.uk" });
});

test("a route to a named exchange needs no queue", () => {
  expect(route({ taskRoutes: { t: { exchange: "x", routingKey: "k" } } }, "t")).toMatchObject({
    exchange: "x",
    routingKey: "k",
    queue: undefined,
  });
});

test("queues that are not declared are made, unless the settings forbid it", () => {
  expect(table().queue("made").bindings).toEqual([{ name: "made", exchange: "made", exchangeType: "direct", routingKey: "made" }]);
  const strict = table({ taskQueues: ["orders"], taskCreateMissingQueues: false });
  expect(() => strict.queue("order")).toThrow(ConfigurationError);
  expect(() => strict.queue("order")).toThrow('Did you mean "orders"?');
});

test("declared queues in every form", () => {
  const names = (settings: SettingsInput) =>
    table(settings).declared.flatMap((queue) =>
      queue.bindings.map((binding) => `${binding.exchange}/${binding.exchangeType}/${binding.routingKey}->${queue.name}`),
    );
  expect(names({})).toEqual(["celery/direct/celery->celery"]);
  expect(names({ taskDefaultQueue: "d", taskDefaultExchange: "x", taskDefaultRoutingKey: "k" })).toEqual(["x/direct/k->d"]);
  expect(names({ taskQueues: { a: { routingKey: "ra" }, b: {} }, taskDefaultExchangeType: "topic" })).toEqual([
    "a/topic/ra->a",
    "b/topic/b->b",
  ]);
  expect(
    names({
      taskQueues: [
        {
          name: "m",
          bindings: [
            { exchange: "x", routingKey: "1" },
            { exchange: new Exchange("f", { type: "fanout" }), routingKey: "" },
          ],
        },
      ],
    }),
  ).toEqual(["x/direct/1->m", "f/fanout/->m"]);
});

test("a function's wrong answer is an error that says so", () => {
  expect(() => route({ taskRoutes: () => ({ qeue: "x" }) as never }, "t")).toThrow('the route of t has an unknown key "qeue"');
});
