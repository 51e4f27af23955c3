/** A Python producer's tasks on a Lovage worker, results read by Python. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Worker } from "lovage/worker";
import { eventually } from "../support/eventually.ts";
import { COMPRESSIONS, isCeleryNew, python, pythonCompresses, PythonPeer } from "../support/python.ts";
import { RedisServer } from "../support/redis-server.ts";
import { nodeApp } from "./node-app.ts";

describe.skipIf(python === undefined)("Python producer, Lovage worker", () => {
  let redis: RedisServer;
  let app: ReturnType<typeof nodeApp>;
  let worker: Worker;
  let peer: PythonPeer;

  beforeAll(async () => {
    redis = await RedisServer.start();
    app = nodeApp({ brokerUrl: redis.url, resultBackend: redis.url.replace(/0$/, "1"), acceptContent: ["json", "yaml", "msgpack"] });
    worker = new Worker(app, { queues: ["node"], concurrency: 10, name: "node@interop" });
    await worker.start();
    peer = new PythonPeer({ broker: redis.url, backend: redis.url.replace(/0$/, "1") });
  });

  afterAll(async () => {
    await peer?.[Symbol.asyncDispose]();
    await worker?.stop();
    await app?.close();
    await redis?.stop();
  });

  const run = async (task: string, args: unknown[] = [], options = {}, kwargs = {}) =>
    peer.get(await peer.send(task, args, { queue: "node", ...options }, kwargs));

  test("a result comes back", async () => {
    expect(await run("node.add", [2, 3])).toEqual({ state: "SUCCESS", value: 5 });
  });

  test("keyword arguments reach the task", async () => {
    expect(await run("node.echo", [1], {}, { colour: "green" })).toEqual({
      state: "SUCCESS",
      value: { value: 1, kwargs: { colour: "green" } },
    });
  });

  test("a limit for all workers counts what Python publishes, by the key in its header", async () => {
    await app.limits.set("task:node.started_at", { rate: "1/s" });
    await app.limits.set("queue:node", { concurrency: 1 });
    const startOf = async (): Promise<number> => (await run("node.started_at")).value as number;
    const [first, second] = (await Promise.all([startOf(), startOf()])).toSorted((a, b) => a - b);
    expect((second as number) - (first as number)).toBeGreaterThan(0.9);
    await app.limits.clear("task:node.started_at");
    await app.limits.clear("queue:node");
  });

  test("a header that Python writes is the key", async () => {
    await using keyed = nodeApp({
      brokerUrl: redis.url,
      resultBackend: redis.url.replace(/0$/, "1"),
      queueLimits: { keyed: { concurrency: 0, key: true } },
    });
    const other = new Worker(keyed, { queues: ["keyed"], name: "keyed@interop" });
    await other.start();
    await peer.send("node.add", [1, 2], { queue: "keyed", headers: { limit_key: "customer7" } });
    await eventually("it waits under its key", async () =>
      (await keyed.limits.list()).some(({ name, key, waiting }) => name === "queue:keyed" && key === "customer7" && waiting === 1),
    );
    await other.stop();
  });

  test("an error is the Python exception of its kind, with a traceback", async () => {
    const answer = await run("node.fail", ["out of range"]);
    expect(answer).toMatchObject({ state: "FAILURE", error: { type: "ValueError", builtin: true, args: ["out of range"] } });
    expect(answer.traceback).toMatch(/^Traceback \(most recent call last\):/);
  });

  test("an error class of the application keeps its name", async () => {
    expect(await run("node.fail_custom", ["card expired"])).toMatchObject({
      state: "FAILURE",
      error: { type: "PaymentDeclined", args: ["card expired"] },
    });
  });

  test("a refused connection is a ConnectionRefusedError", async () => {
    expect(await run("node.refused")).toMatchObject({ state: "FAILURE", error: { type: "ConnectionRefusedError", builtin: true } });
  });

  test.each(["node.by_policy", "node.by_celery_options"])(
    "%s: a Python producer's task is retried here, and Python reads how it ended",
    async (task) => {
      expect(await run(task, [2])).toEqual({ state: "SUCCESS", value: 2 });
      expect(await run(task, [3])).toMatchObject({ state: "FAILURE", error: { type: "PaymentDeclined", args: ["not yet"] } });
    },
  );

  test("retries happen, and then the result", async () => {
    expect(await run("node.flaky", [3])).toEqual({ state: "SUCCESS", value: { attempts: 4 } });
  });

  test("a countdown is kept", async () => {
    const before = Date.now() / 1000;
    const { value } = await run("node.started_at", [], { countdown: 1.2 });
    expect((value as number) - before).toBeGreaterThanOrEqual(1.1); // the clocks of two programs and a broker
    expect((value as number) - before).toBeLessThan(4);
  });

  test("an eta is kept", async () => {
    const before = Date.now() / 1000;
    const { value } = await run("node.started_at", [], { eta_in: 1.2 });
    expect((value as number) - before).toBeGreaterThanOrEqual(1.1);
  });

  test("what has expired is revoked", async () => {
    expect(await run("node.add", [1, 1], { expires: -5 })).toMatchObject({
      state: "REVOKED",
      error: { type: "TaskRevokedError", args: ["expired"] },
    });
  });

  test("identity, headers and the name for monitors travel", async () => {
    const id = await peer.send("node.request", [1], { queue: "node", headers: { tenant: "acme" }, shadow: "pretty" }, { a: [null, true] });
    expect((await peer.get(id)).value).toMatchObject({
      id,
      rootId: id,
      parentId: null,
      correlationId: id,
      retries: 0,
      args: [1],
      kwargs: { a: [null, true] },
      headers: { tenant: "acme" },
      shadow: "pretty",
    });
  });

  describe.each(["json", "yaml", "msgpack"])("serializer %s", (serializer) => {
    test("arguments arrive", async () => {
      const value = { text: "grün ☂ 𝄞", list: [1, 2.5, null, true], nested: { a: { b: [] } }, empty: {} };
      expect((await run("node.echo", [value], { serializer })).value).toEqual(value);
    });
  });

  for (const compression of COMPRESSIONS)
    test.skipIf(!pythonCompresses(compression))(`compression ${compression}`, async () => {
      const value = "long ".repeat(500);
      expect((await run("node.echo", [value], { compression })).value).toBe(value);
    });

  test.skipIf(!isCeleryNew)("typed values arrive as what they are, and return as such", async () => {
    const value = {
      when: { $python: ["datetime", "2024-02-29T12:30:45.123000+00:00"] },
      day: { $python: ["date", "2024-02-29"] },
      price: { $python: ["decimal", "1.10"] },
      id: { $python: ["uuid", "00000000-0000-4000-8000-000000000001"] },
      data: { $python: ["bytes", "//4A"] },
      big: { $python: ["int", "1152921504606846977"] },
    };
    expect((await run("node.echo", [value])).value).toEqual(value);
  });

  test("an unknown content type is refused, and the worker goes on", async () => {
    const id = await peer.send("node.add", [1, 1], { queue: "node", serializer: "pickle" });
    expect(await run("node.add", [20, 3])).toEqual({ state: "SUCCESS", value: 23 });
    const broker = await app.broker();
    const dead = await broker.deadLetters?.page("node", { limit: 10 });
    expect(dead?.entries.map((entry) => [entry.id, entry.reason])).toContainEqual([id, "undecodable"]);
  });

  test("priorities are served in Redis's order: 0 first, 9 last", async () => {
    const broker = await app.broker();
    const order: number[] = [];
    app.task("node.note_priority", (priority: number) => void order.push(priority));
    const ids: string[] = [];
    for (const priority of [9, 6, 3, 0]) ids.push(await peer.send("node.note_priority", [priority], { queue: "ordered", priority }));
    expect((await broker.depth(["ordered"]))[0]?.ready).toBe(4);
    const single = new Worker(app, { queues: ["ordered"], concurrency: 1, name: "single@interop" });
    await single.start();
    for (const id of ids) await peer.get(id);
    await single.stop();
    expect(order).toEqual([0, 3, 6, 9]);
  });
});
