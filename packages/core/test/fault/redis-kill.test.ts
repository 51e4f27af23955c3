import { test } from "vitest";
import { RedisServer } from "../support/redis-server.ts";
import { killStorm } from "./kill-storm.ts";

/** The long form is `LOVAGE_SOAK=1`: eight workers for half an hour, or for `LOVAGE_SOAK_MINUTES`, with the default lease. */
const isSoak = process.env.LOVAGE_SOAK === "1";
const MINUTES = Number(process.env.LOVAGE_SOAK_MINUTES ?? 30);
const KILLS = isSoak ? MINUTES * 60 : 8;
const WORKERS = isSoak ? 8 : 3;

test(
  `${WORKERS} workers on one Redis, one killed every second, ${KILLS} times: nothing is lost`,
  { timeout: KILLS * 5000 + 180_000 },
  async ({ annotate }) => {
    await using redis = await RedisServer.start();
    const report = await killStorm({
      broker: redis.url,
      backend: redis.url,
      workers: WORKERS,
      kills: KILLS,
      concurrency: isSoak ? 2 : 10,
      taskMs: 20,
      leaseMs: isSoak ? 10_000 : 1000,
    });
    const text = `${report.executed} executed, ${report.repeated} repeated, ${report.allowed} allowed; ${KILLS} kills in ${report.tookS.toFixed(0)} s`;
    await annotate(text);
    // oxlint-disable-next-line no-console -- a figure for whoever reads the run
    if (isSoak) console.log(text);
  },
);
