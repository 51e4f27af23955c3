/** What a worker keeps does not grow with what it has done, nor with how often it had to connect again. */
import { execFileSync } from "node:child_process";
import { Lovage } from "lovage";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { type RecordingWorker, RecordingWorkers } from "../support/recording-workers.ts";
import { RedisServer } from "../support/redis-server.ts";

const isSoak = process.env.LOVAGE_SOAK === "1";
const plan = isSoak ? { first: 1_000_000, last: 5_000_000, reconnects: 100 } : { first: 30_000, last: 60_000, reconnects: 10 };
const CHUNK = 1000;
const BACKLOG = 20_000;
const MIB = 1024 * 1024;

test(
  `the heap after ${plan.last} tasks and ${plan.reconnects} reconnects is that after ${plan.first}`,
  { timeout: plan.last / 2 + 240_000 },
  async () => {
    await using redis = await RedisServer.start();
    await using workers = new RecordingWorkers({
      broker: redis.url,
      backend: redis.url,
      concurrency: 100,
      settings: { resultExpires: 5 },
      execArgv: ["--expose-gc"],
    });
    await using app = new Lovage("producer", { brokerUrl: redis.url, resultBackend: "disabled://", env: false, configFile: false });
    const worker = await workers.start();

    await work(app, worker, plan.first);
    const before = await worker.memory();
    const chunk = (plan.last - plan.first) / plan.reconnects;
    for (let reconnect = 1; reconnect <= plan.reconnects; reconnect++) {
      const { processed } = await worker.status();
      const working = work(app, worker, plan.first + reconnect * chunk);
      await worker.whenStatus((status) => status.processed > processed); // in the midst of it
      execFileSync("redis-cli", ["-p", String(redis.port), "client", "kill", "type", "normal"]);
      await working;
    }
    const after = await worker.memory();
    const heap = (after.heapUsed - before.heapUsed) / MIB;
    const resident = (after.rss - before.rss) / MIB;
    // oxlint-disable-next-line no-console -- figures for whoever reads the run
    console.log(
      `heap ${(before.heapUsed / MIB).toFixed(2)} -> ${(after.heapUsed / MIB).toFixed(2)} MiB, resident ${(before.rss / MIB).toFixed(1)} -> ${(after.rss / MIB).toFixed(1)} MiB`,
    );
    expect(heap).toBeLessThan(2);
    if (isSoak) expect(resident).toBeLessThan(20); // a process that is a few seconds old still grows into its size
    await worker.end("SIGTERM");
  },
);

/** Publishes and waits until so many were begun since the start of the worker, and all are settled. */
async function work(app: Lovage, worker: RecordingWorker, total: number): Promise<void> {
  const { processed } = await worker.status();
  let left = total - processed;
  const broker = await app.broker();
  while (left > 0) {
    const backlog = async (): Promise<number> => (await broker.depth(["celery"]).catch(() => []))[0]?.ready ?? 0; // this connection is cut off as well
    await eventually("room for more", async () => (await backlog()) <= BACKLOG, 120_000);
    const size = Math.min(CHUNK, left);
    left -= size;
    const tasks = Array.from({ length: size }, () => ({ name: "test.nothing", args: [] }));
    await app.publishMany(tasks);
  }
  await worker.whenStatus(({ processed: done, onLoan, consuming }) => done >= total && onLoan === 0 && consuming);
}
