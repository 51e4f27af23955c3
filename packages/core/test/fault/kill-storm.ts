/**
 * Workers that are killed one after the other while they work: everything must be executed all the same, and what is
 * executed twice must not be more than what the killed ones held.
 */
import { setTimeout as wait } from "node:timers/promises";
import { Lovage } from "lovage";
import { expect } from "vitest";
import { RecordingWorkers } from "../support/recording-workers.ts";

export interface Storm {
  readonly broker: string;
  readonly backend?: string;
  readonly workers: number;
  /** One a second, as long as there is a worker to kill. */
  readonly kills: number;
  readonly concurrency: number;
  readonly taskMs: number;
  readonly leaseMs: number;
}

const KILL_EVERY_MS = 1000;
const CHUNK = 100;
/** Enough for all slots for so long, so that the killed ones have something to do. */
const BACKLOG_MS = 1000;

export interface StormReport {
  readonly executed: number;
  /** Begun more than once. */
  readonly repeated: number;
  /** What the killed ones may have held at most. */
  readonly allowed: number;
  /** The storm alone. */
  readonly tookS: number;
}

export async function killStorm(storm: Storm): Promise<StormReport> {
  const { broker, backend, workers: count, kills, concurrency, taskMs, leaseMs } = storm;
  const settings = { leaseTime: leaseMs / 1000, maxDeliveries: 1000 }; // the storm is not the tasks' fault
  await using workers = new RecordingWorkers({ broker, concurrency, settings, ...(backend === undefined ? {} : { backend }) });
  await using app = new Lovage("storm", { brokerUrl: broker, resultBackend: "disabled://", env: false, configFile: false, ...settings });
  const ready = await Promise.all(Array.from({ length: count }, () => workers.start()));

  const backlog = Math.ceil((BACKLOG_MS * count * concurrency) / taskMs);
  const queues = await app.broker();
  const over = new AbortController();
  let published = 0;
  const publishing = (async () => {
    while (!over.signal.aborted) {
      const [queue] = await queues.depth(["celery"]);
      if ((queue?.ready ?? 0) < backlog) {
        await app.publishMany(Array.from({ length: CHUNK }, (_, i) => ({ name: "test.recordBoth", args: [published + i, taskMs] })));
        published += CHUNK;
      } else await wait(20);
    }
  })();
  const starting = new Set<Promise<unknown>>(); // the next is killed in time although they are slow to start
  const begunAt = performance.now();
  for (let kill = 0; kill < kills; kill++) {
    while (ready.length === 0) await Promise.race(starting);
    const [victim] = ready.splice(kill % ready.length, 1);
    await victim?.end("SIGKILL");
    const started = workers.start().then((worker) => void ready.push(worker));
    starting.add(started);
    void started.finally(() => starting.delete(started));
    await wait(Math.max(0, begunAt + (kill + 1) * KILL_EVERY_MS - performance.now()));
  }
  const tookS = (performance.now() - begunAt) / 1000;
  await Promise.all(starting);
  await Promise.all(workers.alive.map((worker) => worker.end("SIGTERM"))); // while there is work
  over.abort();
  await publishing;
  for (let i = 0; i < count; i++) await workers.start();
  await workers.executed(2 * published, leaseMs * 2 + 60_000); // begun and ended
  await Promise.all(workers.alive.map((worker) => worker.end("SIGTERM")));

  const lines = workers.lines();
  const executed = new Set(lines.filter((line) => !line.startsWith("began")));
  const begun = lines.filter((line) => line.startsWith("began"));
  const report = { executed: executed.size, repeated: begun.length - new Set(begun).size, allowed: kills * 2 * concurrency, tookS };
  expect(report.executed).toBe(published);
  expect(report.repeated).toBeGreaterThan(0); // or the killed ones had nothing to do
  expect(report.repeated).toBeLessThanOrEqual(report.allowed);
  expect(await queues.depth(["celery"])).toMatchObject([{ ready: 0, parked: 0, dead: 0 }]);
  return report;
}
