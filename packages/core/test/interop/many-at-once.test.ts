/** Messages of Python producers in batches and aggregates: each has its own result, as Python reads it. */
import { expect, test } from "vitest";
import { type BatchItem, Lovage } from "lovage";
import { Worker } from "lovage/worker";
import { python, PythonPeer } from "../support/python.ts";
import { RedisServer } from "../support/redis-server.ts";

test.skipIf(python === undefined)("a Python producer's calls run together, and each ends as Python expects", async () => {
  await using redis = await RedisServer.start();
  const backend = redis.url.replace(/0$/, "1"); // another database: results are stored and read there all the same
  await using app = new Lovage("many", { brokerUrl: redis.url, resultBackend: backend, env: false, configFile: false });
  const runs: number[] = [];
  const run = (_ctx: unknown, items: readonly BatchItem<[n: number, how: string], number>[]): void => {
    runs.push(items.length);
    for (const item of items) {
      const [n, how] = item.args;
      if (how === "fail") item.fail(new RangeError("out of range"));
      else item.succeed(n * 2);
    }
  };
  app.task({ name: "node.batch", params: ["n", "how"], batch: { size: 3, wait: "5s" }, run });
  app.task({ name: "node.aggregate", params: ["n", "how"], aggregate: { maxSize: 3, maxWait: "5s" }, run });
  await using worker = new Worker(app, { queues: ["node"], concurrency: 2 });
  await worker.start();
  await using peer = new PythonPeer({ broker: redis.url, backend });
  for (const task of ["node.batch", "node.aggregate"]) {
    const ids = [
      await peer.send(task, [1, "succeed"], { queue: "node" }),
      await peer.send(task, [2], { queue: "node" }, { how: "fail" }),
      await peer.send(task, [], { queue: "node" }, { n: 3, how: "succeed" }),
    ];
    expect(await peer.get(ids[0] as string)).toEqual({ state: "SUCCESS", value: 2 });
    expect(await peer.get(ids[1] as string)).toMatchObject({ state: "FAILURE", error: { type: "ValueError", args: ["out of range"] } });
    expect(await peer.get(ids[2] as string)).toEqual({ state: "SUCCESS", value: 6 });
  }
  expect(runs).toEqual([3, 3]);
});
