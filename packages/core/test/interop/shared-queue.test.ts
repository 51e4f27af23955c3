/** Lovage and Python workers on the same queues: each leaves the other's loans alone, and takes over what was abandoned. */
import { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Worker } from "lovage/worker";
import { python, PythonPeer, PythonWorker } from "../support/python.ts";
import { RedisServer } from "../support/redis-server.ts";
import { nodeApp } from "./node-app.ts";

describe.skipIf(python === undefined)("Lovage and Python workers on one queue", () => {
  let redis: RedisServer;
  let urls: { broker: string; backend: string };

  beforeEach(async () => {
    redis = await RedisServer.start();
    urls = { broker: redis.url, backend: redis.url.replace(/0$/, "1") };
  });
  afterEach(async () => redis.stop());

  test("loans of a killed Python worker are returned by kombu's rule, and run on Lovage", async () => {
    const visibility = { VISIBILITY_TIMEOUT: "2" };
    await using peer = new PythonPeer({ ...urls, env: visibility });
    const id = await peer.send("python.hold", [600], { queue: "shared" });
    {
      await using doomed = new PythonWorker({ ...urls, env: visibility, arguments: ["-Q", "shared"] });
      await doomed.ready;
      const client = new Redis(urls.broker);
      while ((await client.hlen("unacked")) === 0) await new Promise((resolve) => setImmediate(resolve));
      client.disconnect();
      await doomed.kill();
    }
    const app = nodeApp({ brokerUrl: urls.broker, resultBackend: urls.backend, brokerTransportOptions: { visibility_timeout: 2 } });
    app.task("python.hold", (seconds: number) => seconds);
    const worker = new Worker(app, { queues: ["shared"], concurrency: 2, name: "heir@interop" });
    await worker.start();
    expect(await peer.get(id, 30)).toEqual({ state: "SUCCESS", value: 600 });
    await worker.stop();
    await app.close();
    const client = new Redis(urls.broker);
    expect(await client.exists("unacked", "unacked_index")).toBe(0);
    client.disconnect();
  });

  test("Python's visibility timeout never touches what Lovage holds", async () => {
    const visibility = { VISIBILITY_TIMEOUT: "1" };
    const app = nodeApp({ brokerUrl: urls.broker, resultBackend: urls.backend, brokerTransportOptions: { visibility_timeout: 1 } });
    let starts = 0;
    let finish = (): void => {};
    const finished = new Promise<void>((resolve) => (finish = resolve));
    const slow = app.task("node.slow", async () => {
      starts += 1;
      await finished;
      return starts;
    });
    const worker = new Worker(app, { queues: ["shared"], concurrency: 2, name: "holder@interop" });
    await worker.start();
    const pending = await slow.applyAsync([], {}, { queue: "shared" });
    // A Python worker sweeps when it starts: three of them, one after the other, each with the loan older than the timeout.
    for (let round = 0; round < 3; round += 1) {
      await using sweeper = new PythonWorker({ ...urls, env: visibility, arguments: ["-Q", "shared"] });
      await sweeper.ready;
    }
    finish();
    expect(await pending.get({ timeout: "20s" })).toBe(1);
    await worker.stop();
    await app.close();
  });
});
