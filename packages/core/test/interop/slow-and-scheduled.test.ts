/**
 * A task that takes longer than the visibility timeout, and one that is due later than it, run once, beside Python workers on the same broker
 * and while other workers come and go: what makes Celery on Redis run them again and again.
 */
import { setTimeout as wait } from "node:timers/promises";
import { Lovage } from "lovage";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { python, PythonWorker } from "../support/python.ts";
import { RecordingWorkers } from "../support/recording-workers.ts";
import { RedisServer } from "../support/redis-server.ts";

const isSoak = process.env.LOVAGE_SOAK === "1";
const [VISIBILITY_S, TASK_S, ETA_S, LEASE_S] = isSoak ? [10, 60, 45, 10] : [2, 9, 7, 1];
const [SLOW, SCHEDULED] = [1, 2];
/** How long a worker stays that comes and goes. */
const GUEST_MS = { least: 100, most: 1000 };

test.skipIf(python === undefined)(
  `${TASK_S} s of work and an ETA in ${ETA_S} s run once, with a visibility timeout of ${VISIBILITY_S} s`,
  async () => {
    await using redis = await RedisServer.start();
    const brokerTransportOptions = { visibility_timeout: VISIBILITY_S };
    const settings = { leaseTime: LEASE_S, brokerTransportOptions, parkThreshold: 2 };
    await using app = new Lovage("producer", { brokerUrl: redis.url, env: false, configFile: false, ...settings });
    await using workers = new RecordingWorkers({ broker: redis.url, concurrency: 2, settings });
    await using beside = new PythonWorker({
      broker: redis.url,
      backend: redis.url,
      env: { VISIBILITY_TIMEOUT: String(VISIBILITY_S) },
      arguments: ["-Q", "python,elsewhere"],
    });
    await beside.ready;
    await workers.start(); // this one stays
    await app.sendTask("test.recordBoth", [SLOW, TASK_S * 1000]);
    const sentAt = performance.now();
    await eventually("the slow one has begun", () => workers.lines().includes(`began ${SLOW}`));
    const dueAt = performance.now() + ETA_S * 1000;
    await app.sendTask("test.recordBoth", [SCHEDULED, 0], {}, { countdown: ETA_S });
    const over = new AbortController();
    const restarts = (async () => {
      while (!over.signal.aborted) {
        const guest = await workers.start();
        await wait(GUEST_MS.least + (GUEST_MS.most - GUEST_MS.least) * Math.random());
        await guest.end("SIGTERM"); // a kill may cost a run of what it holds that moment
      }
    })();
    const until = (ETA_S + TASK_S) * 1000 + 30_000;
    await eventually("the scheduled one has begun", () => workers.lines().includes(`began ${SCHEDULED}`), until);
    const lateMs = performance.now() - dueAt;
    await eventually("the slow one has ended", () => workers.lines().includes(String(SLOW)), until);
    expect(performance.now() - sentAt).toBeGreaterThan(TASK_S * 1000 - 100);
    over.abort();
    await restarts;
    expect(workers.lines().toSorted()).toEqual([String(SLOW), String(SCHEDULED), `began ${SLOW}`, `began ${SCHEDULED}`]);
    // oxlint-disable-next-line no-console -- a figure for whoever reads the run
    console.log(`the scheduled one began ${lateMs.toFixed(0)} ms after its time`);
    expect(lateMs).toBeGreaterThan(-50);
    expect(lateMs).toBeLessThan(isSoak ? 1000 : 2000); // the short form runs beside other tests
  },
);
