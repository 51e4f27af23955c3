/**
 * Workers of a fair queue killed with -9 at random moments: no task is lost, no key runs beyond its limit or is left without its turn,
 * and nothing is left behind. With LOVAGE_SOAK=1 more of everything.
 */
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { Lovage } from "lovage";

import { eventually } from "../support/eventually.ts";
import { RecordingWorkers } from "../support/recording-workers.ts";
import { RedisServer } from "../support/redis-server.ts";

const isSoak = process.env["LOVAGE_SOAK"] === "1";
const TENANTS = 10;
const TASKS_EACH = isSoak ? 2000 : 120;
const KILLS = isSoak ? 40 : 2;
const LIMIT = 3;
const settings = { leaseTime: 1, taskQueues: { work: { fair: true } }, taskDefaultQueue: "work", maxDeliveries: 1000 };

const none = (): void => undefined;
const quiet = { debug: none, info: none, warn: none, error: none, child: () => quiet };

test(
  "kill -9 of workers of a fair queue loses no task and no turn",
  async () => {
    await using redis = await RedisServer.start();
    await using workers = new RecordingWorkers({ broker: redis.url, settings, concurrency: 8 });
    await using app = new Lovage("fair", { brokerUrl: redis.url, env: false, configFile: false, logger: quiet, ...settings });
    await app.fairness.setDefaults("work", { limit: LIMIT });
    const total = TENANTS * TASKS_EACH;
    const calls = Array.from({ length: total }, (_, index) => ({
      name: "test.record",
      args: [index, 5],
      options: { fairKey: `t${index % TENANTS}` },
    }));
    await app.publishMany(calls);
    for (let i = 0; i < 3; i += 1) await workers.start();

    const over = new AbortController();
    const watching = (async () => {
      while (!over.signal.aborted) {
        const { keys } = await app.fairness.state("work");
        for (const { key, running } of keys) expect(running, key).toBeLessThanOrEqual(LIMIT);
      }
    })();
    for (let kill = 1; kill <= KILLS; kill += 1) {
      await eventually("more tasks to have run", () => new Set(workers.lines()).size >= (total * kill) / (KILLS + 2), 120_000);
      const [victim] = workers.alive.toSorted(() => Math.random() - 0.5);
      await victim?.end("SIGKILL");
      await workers.start();
    }
    await workers.executed(total, 120_000);
    over.abort();
    await watching;

    const hand = new Redis(redis.url);
    try {
      await eventually(
        "nothing to be left but the settings",
        async () => {
          const left = (await hand.keys("lovage:fair*")).filter((key) => !/:fair$|:fair-(settings|check|bell):/.test(key));
          return left.length === 0 && (await hand.llen("work")) === 0;
        },
        60_000,
      );
    } finally {
      hand.disconnect();
    }
  },
  isSoak ? 900_000 : 120_000,
);
