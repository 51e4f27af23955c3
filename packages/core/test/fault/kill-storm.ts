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
  readonly kills: number;
  readonly concurrency: number;
  readonly taskMs: number;
}

const KILL_EVERY_MS = 1000;
const LEASE_S = 1;
const CHUNK = 500;

export interface StormReport {
  readonly executed: number;
  /** Begun more than once. */
  readonly repeated: number;
  /** What the killed ones may have held at most. */
  readonly allowed: number;
}

export async function killStorm(storm: Storm): Promise<StormReport> {
  const { broker, backend, workers: count, kills, concurrency, taskMs } = storm;
  const settings = { leaseTime: LEASE_S, maxDeliveries: 1000 }; // the storm is not the tasks' fault
  await using workers = new RecordingWorkers({ broker, concurrency, settings, ...(backend === undefined ? {} : { backend }) });
  await using app = new Lovage("storm", { brokerUrl: broker, resultBackend: "disabled://", env: false, configFile: false, ...settings });
  for (let i = 0; i < count; i++) await workers.start();

  // As much as all workers together could do until the last kill: their slots are busy all the time.
  const total = Math.ceil((kills * KILL_EVERY_MS * count * concurrency) / taskMs);
  let published = 0;
  const publishing = (async () => {
    while (published < total) {
      const size = Math.min(CHUNK, total - published);
      await app.publishMany(Array.from({ length: size }, (_, i) => ({ name: "test.recordBoth", args: [published + i, taskMs] })));
      published += size;
      await wait((kills * KILL_EVERY_MS * size) / total / 2); // faster than they are executed
    }
  })();
  for (let kill = 0; kill < kills; kill++) {
    await wait(KILL_EVERY_MS);
    const victim = workers.alive[kill % workers.alive.length];
    await victim?.end("SIGKILL");
    await workers.start();
  }
  await publishing;
  await workers.executed(2 * total, 60_000); // begun and ended
  for (const worker of workers.alive) await worker.end("SIGTERM");

  const lines = workers.lines();
  const executed = new Set(lines.filter((line) => !line.startsWith("began")));
  const begun = lines.filter((line) => line.startsWith("began"));
  const report = { executed: executed.size, repeated: begun.length - new Set(begun).size, allowed: kills * 2 * concurrency };
  expect(report.executed).toBe(total);
  expect(report.repeated).toBeGreaterThan(0); // or the killed ones had nothing to do
  expect(report.repeated).toBeLessThanOrEqual(report.allowed);
  const queues = await (await app.broker()).depth(["celery"]);
  expect(queues).toMatchObject([{ ready: 0, parked: 0, dead: 0 }]);
  return report;
}
