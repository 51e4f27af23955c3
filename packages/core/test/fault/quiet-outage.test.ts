/** A worker that is made quiet while Redis does not answer keeps nothing that it has not started. */
import { setTimeout as wait } from "node:timers/promises";
import { Lovage } from "lovage";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { RecordingWorkers } from "../support/recording-workers.ts";
import { RedisServer } from "../support/redis-server.ts";

const ROUNDS = process.env.LOVAGE_SOAK === "1" ? 50 : 3;
const TASKS = 1000;
const TASK_MS = 20;
/** Longer than the end of a consumer waits for Redis. */
const OUTAGE_MS = 4000;

test(
  "quiet in an outage: what was on its way is back in the queue soon after Redis is",
  { timeout: ROUNDS * 50_000 + 60_000 },
  async () => {
    await using redis = await RedisServer.start();
    await using workers = new RecordingWorkers({ broker: redis.url, concurrency: 10 });
    await using app = new Lovage("producer", { brokerUrl: redis.url, env: false, configFile: false });
    const broker = await app.broker();
    const worker = await workers.start();
    let sent = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const { processed: before } = await worker.status();
      await app.publishMany(Array.from({ length: TASKS }, () => ({ name: "test.record", args: [sent++, TASK_MS] })));
      await worker.whenStatus(({ processed }) => processed > before); // in full swing
      redis.pause();
      worker.process.send("quiet");
      await wait(OUTAGE_MS); // an outage has a length
      redis.resume();
      await eventually(
        "what has not run is ready",
        async () => {
          const { processed, onLoan } = await worker.status();
          const [queue] = await broker.depth(["celery"]).catch(() => []);
          return onLoan === 0 && processed + (queue?.ready ?? 0) === sent;
        },
        30_000,
      );
      worker.process.send("resume");
      await worker.whenStatus(({ consuming }) => consuming);
    }
    await workers.executed(sent, 60_000 + ROUNDS * 6000); // most of them wait till the end
    expect((await worker.status()).processed).toBe(sent); // and nothing twice
    await worker.end("SIGTERM");
  },
);
