/** What a killed worker held starts elsewhere soon: within one and a half leases, 15 s by default. */
import { setTimeout as wait } from "node:timers/promises";
import { Lovage } from "lovage";
import { expect, test } from "vitest";
import { RecordingWorkers } from "../support/recording-workers.ts";
import { RedisServer } from "../support/redis-server.ts";

const isSoak = process.env.LOVAGE_SOAK === "1";
/** The default in the long form. */
const LEASE_MS = isSoak ? 10_000 : 2000;

test("after kill -9 the task starts elsewhere within one and a half leases", async () => {
  await using redis = await RedisServer.start();
  await using app = new Lovage("producer", { brokerUrl: redis.url, env: false, configFile: false });
  await using workers = new RecordingWorkers({ broker: redis.url, concurrency: 2, settings: { leaseTime: LEASE_MS / 1000 } });
  const doomed = await workers.start();
  await app.remote<[index: number], number>("test.reason").delay(1); // runs until it is told to stop
  await doomed.said("running");
  const heir = await workers.start();
  await wait(LEASE_MS * 1.2); // nothing happens meanwhile that one could wait for: the heir has been there for a while, as in a fleet
  await doomed.end("SIGKILL");
  const killedAt = performance.now();
  await heir.said("running");
  const tookMs = performance.now() - killedAt;
  // oxlint-disable-next-line no-console -- a figure for whoever reads the run
  console.log(`started elsewhere ${(tookMs / 1000).toFixed(2)} s after kill -9, with a lease of ${LEASE_MS / 1000} s`);
  expect(tookMs).toBeLessThan(LEASE_MS * 1.5 + 200);
});
