/** Members of a batch that Python sends, on workers of both languages. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Lovage } from "lovage";
import { Worker } from "lovage/worker";
import { isCeleryNew, python, PythonWorker } from "../support/python.ts";
import { RedisServer } from "../support/redis-server.ts";
import { nodeApp } from "./node-app.ts";

const examples = fileURLToPath(new URL("../../../../examples/celery/", import.meta.url));
const isSoak = process.env.LOVAGE_SOAK === "1";

describe.skipIf(python === undefined || !isCeleryNew)("batches across languages", () => {
  let redis: RedisServer;
  let app: Lovage;
  let worker: Worker;
  let pythonWorker: PythonWorker;

  beforeAll(async () => {
    redis = await RedisServer.start();
    const urls = { broker: redis.url, backend: redis.url };
    app = nodeApp({ brokerUrl: urls.broker, resultBackend: urls.backend });
    worker = new Worker(app, { queues: ["node"], concurrency: 10, name: "node@batches" });
    pythonWorker = new PythonWorker(urls);
    await pythonWorker.ready;
  }, 60_000);

  afterAll(async () => {
    await pythonWorker?.[Symbol.asyncDispose]();
    await worker?.stop();
    await app?.close();
    await redis?.stop();
  });

  /** The function that docs/task-batches.md shows, in a program of its own. */
  async function addFromPython(batchId: string, queue: string, count: number): Promise<void> {
    const program = [
      "import sys, json, redis",
      `sys.path.insert(0, ${JSON.stringify(examples)})`,
      "from join_batch import join_batch",
      "from celery import Celery",
      "url, task, batch, queue, count = sys.argv[1:]",
      "app = Celery(broker=url, backend=url)",
      "join_batch(redis.Redis.from_url(url), app.signature(task), batch, list(range(int(count))), queue=queue)",
    ].join("\n");
    await promisify(execFile)(python as string, ["-c", program, redis.url, `${queue}.echo`, batchId, queue, String(count)]);
  }

  test("members that Python sends are counted, and cancelled with the others", { timeout: 60_000 }, async () => {
    const batch = await app.batch();
    await addFromPython(batch.id, "node", 3);
    await batch.seal();
    const later = await app.batch({}, async ({ id }) => await addFromPython(id, "node", 2));
    await later.cancel();
    await worker.start();
    expect(await batch.whenComplete().get({ timeout: "30s" })).toMatchObject({ total: 3, succeeded: 3 });
    expect(await batch.result(2).get({ timeout: "10s" })).toBe(2);
    expect(await later.whenComplete().get({ timeout: "30s" })).toMatchObject({ total: 2, succeeded: 0, failed: 2, cancelled: true });
  });

  test.runIf(isSoak)("members that ran on a Python worker are found by their results", { timeout: 180_000 }, async () => {
    const batch = await app.batch({}, async ({ id }) => await addFromPython(id, "python", 3));
    expect(await batch.whenComplete().get({ timeout: "120s" })).toMatchObject({ total: 3, succeeded: 3 });
  });
});
