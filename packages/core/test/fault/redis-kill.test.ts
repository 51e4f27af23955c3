import { test } from "vitest";
import { RedisServer } from "../support/redis-server.ts";
import { killStorm } from "./kill-storm.ts";

/** The long form is `LOVAGE_SOAK=1`. */
const KILLS = process.env.LOVAGE_SOAK ? 100 : 8;

test(
  `three workers on one Redis, one killed every second, ${KILLS} times: nothing is lost`,
  { timeout: KILLS * 3000 + 120_000 },
  async ({ annotate }) => {
    await using redis = await RedisServer.start();
    const report = await killStorm({ broker: redis.url, backend: redis.url, workers: 3, kills: KILLS, concurrency: 10, taskMs: 20 });
    await annotate(`${report.executed} executed, ${report.repeated} repeated, ${report.allowed} allowed`);
  },
);
