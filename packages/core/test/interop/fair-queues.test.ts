/** A fair queue of a Lovage worker that Python's producers fill: the plain list, with the key as a header. */
import { describe, expect, test } from "vitest";
import { Worker } from "lovage/worker";

import { eventually } from "../support/eventually.ts";
import { python, PythonPeer } from "../support/python.ts";
import { RedisServer } from "../support/redis-server.ts";
import { nodeApp } from "./node-app.ts";

describe.skipIf(python === undefined)("Python producers of a fair queue", () => {
  test("keys that Python sets as headers have their turns, and its results come back", async () => {
    await using redis = await RedisServer.start();
    await using app = nodeApp({
      brokerUrl: redis.url,
      resultBackend: redis.url.replace(/0$/, "1"),
      taskQueues: { node: { fair: true } },
    });
    const order: string[] = [];
    app.task("fair.note", (tenant: string) => void order.push(tenant));
    await using peer = new PythonPeer({ broker: redis.url, backend: redis.url.replace(/0$/, "1") });
    const ids: string[] = [];
    for (const tenant of ["é", "é", "é", "é", "b", "b"])
      ids.push(await peer.send("fair.note", [tenant], { queue: "node", headers: { fair_key: tenant } }));
    ids.push(await peer.send("fair.note", ["none"], { queue: "node" }));
    const worker = new Worker(app, { queues: ["node"], concurrency: 1, name: "fair@interop" });
    await worker.start();
    try {
      for (const id of ids) expect(await peer.get(id)).toMatchObject({ state: "SUCCESS" });
      expect(order).toEqual(["é", "b", "none", "é", "b", "é", "é"]);
      await eventually("nothing to be counted", async () => (await app.fairness.state("node")).keys.length === 0);
    } finally {
      await worker.stop();
    }
  });
});
