/** A Lovage producer's tasks on a Python worker, results read by Lovage. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Lovage } from "lovage";
import { COMPRESSIONS, isCeleryNew, python, pythonCompresses, PythonWorker } from "../support/python.ts";
import { RedisServer } from "../support/redis-server.ts";
import { nodeApp } from "./node-app.ts";

describe.skipIf(python === undefined)("Lovage producer, Python worker", () => {
  let redis: RedisServer;
  let app: Lovage;
  let worker: PythonWorker;

  beforeAll(async () => {
    redis = await RedisServer.start();
    const urls = { broker: redis.url, backend: redis.url.replace(/0$/, "1") };
    app = nodeApp({ brokerUrl: urls.broker, resultBackend: urls.backend });
    worker = new PythonWorker({ ...urls, env: { ACCEPT: "json,yaml,msgpack" }, arguments: ["-Q", "python"] });
    await worker.ready;
  });

  afterAll(async () => {
    await worker?.[Symbol.asyncDispose]();
    await app?.close();
    await redis?.stop();
  });

  const send = (name: string, args: unknown[] = [], options = {}, kwargs = {}) =>
    app.sendTask(name, args, kwargs, { queue: "python", ...options });
  const get = async (name: string, args: unknown[] = [], options = {}, kwargs = {}) =>
    (await send(name, args, options, kwargs)).get({ timeout: "30s" });

  test("a result comes back", async () => {
    expect(await get("python.add", [2, 3])).toBe(5);
  });

  test("a typed handle calls it", async () => {
    const add = app.remote<[x: number, y: number], number>("python.add", { queue: "python" });
    const sum: number = await (await add.delay(20, 22)).get({ timeout: "30s" });
    expect(sum).toBe(42);
  });

  test("keyword arguments arrive", async () => {
    expect(await get("python.echo", [1], {}, { colour: "green" })).toEqual({ value: 1, kwargs: { colour: "green" } });
  });

  test("a Python exception is an error with its type, module and arguments", async () => {
    const failed = await send("python.fail", ["boom"]);
    await expect(failed.get({ timeout: "30s" })).rejects.toMatchObject({ type: "ValueError", module: "builtins", args: ["boom", 42] });
    expect(await failed.state()).toBe("FAILURE");
    expect(await failed.traceback()).toContain("ValueError");
  });

  test("an exception class of the application", async () => {
    await expect(get("python.fail_custom", ["no"])).rejects.toMatchObject({ type: "ShopError", module: "peer_app", args: ["no"] });
  });

  test("retries in Python end in a result", async () => {
    expect(await get("python.flaky", [3])).toEqual({ attempts: 4 });
  });

  test("countdown and eta are kept", async () => {
    const before = Date.now() / 1000;
    const [countdown, eta] = await Promise.all([
      get("python.started_at", [], { countdown: 1.2 }),
      get("python.started_at", [], { eta: new Date(Date.now() + 1200) }),
    ]);
    expect((countdown as number) - before).toBeGreaterThanOrEqual(1.1); // the clocks of two programs and a broker
    expect((eta as number) - before).toBeGreaterThanOrEqual(1.1);
  });

  test("what has expired is revoked there", async () => {
    const late = await send("python.add", [1, 1], { expires: new Date(Date.now() - 5000) });
    await expect(late.get({ timeout: "30s" })).rejects.toMatchObject({ name: "TaskRevokedError", how: "expired" });
    expect(await late.state()).toBe("REVOKED");
  });

  test("Python reads every field of the message", async () => {
    const sent = await send(
      "python.request",
      [1, "a"],
      { headers: { tenant: "acme" }, shadow: "pretty", timeLimit: 30, softTimeLimit: 20, priority: 3 },
      { k: [1] },
    );
    expect(await sent.get({ timeout: "30s" })).toMatchObject({
      id: sent.id,
      root_id: sent.id,
      parent_id: null,
      retries: 0,
      timelimit: [30, 20],
      correlation_id: sent.id,
      shadow: "pretty",
      argsrepr: "(1, 'a')",
      kwargsrepr: "{'k': [1]}",
      priority: 3,
      args: [1, "a"],
      kwargs: { k: [1] },
    });
  });

  test.each(["json", "yaml", "msgpack"])("serializer %s", async (serializer) => {
    const value = { text: "grün ☂ 𝄞", list: [1, 2.5, null, true], nested: { a: { b: [] } }, empty: {} };
    expect(await get("python.echo", [value], { serializer })).toEqual(value);
  });

  for (const compression of COMPRESSIONS)
    test.skipIf(!pythonCompresses(compression))(`compression ${compression}`, async () => {
      const value = "long ".repeat(500);
      expect(await get("python.echo", [value], { compression })).toBe(value);
    });

  test.skipIf(!isCeleryNew)("typed values arrive as Python's types", async () => {
    const when = new Date("2024-02-29T12:30:45.123Z");
    const answer = (await get("python.typed", [{ when, data: Uint8Array.of(0xff, 0xfe, 0), big: 2n ** 60n + 1n }])) as {
      types: Record<string, string>;
      echo: Record<string, unknown>;
      made: Record<string, unknown>;
    };
    expect(answer.types).toEqual({ when: "datetime", data: "bytes", big: "int" });
    expect(answer.echo).toMatchObject({ when, big: 2n ** 60n + 1n });
    expect(Buffer.from(answer.echo.data as Uint8Array)).toEqual(Buffer.of(0xff, 0xfe, 0));
    expect(answer.made.big).toBe(2n ** 60n + 1n);
    expect(String(answer.made.decimal)).toBe("1.10");
    expect(String(answer.made.date)).toBe("2024-02-29");
    expect(String(answer.made.uuid)).toBe("00000000-0000-4000-8000-000000000001");
  });

  test("a bulk call runs every one", async () => {
    const add = app.remote<[x: number, y: number], number>("python.add", { queue: "python" });
    const sent = await app.publishMany(Array.from({ length: 50 }, (_, i) => add.call(i, 1)));
    expect(await Promise.all(sent.map((one) => one.get({ timeout: "30s" })))).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
  });
});
