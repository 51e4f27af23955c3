/** A deploy that never ends: workers are replaced one after the other while there is work of all lengths. */
import { setTimeout as wait } from "node:timers/promises";
import { Lovage } from "lovage";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { RecordingWorkers } from "../support/recording-workers.ts";
import { RedisServer } from "../support/redis-server.ts";
import { runsByTask, timedRuns } from "../support/timed-runs.ts";

const isSoak = process.env.LOVAGE_SOAK === "1";
const MINUTES = Number(process.env.LOVAGE_SOAK_MINUTES ?? 5);
const plan = isSoak
  ? { workers: 10, everyMs: 5000, restarts: MINUTES * 12, graceMs: 25_000, leaseMs: 10_000, shortMs: 22_000, longMs: 60_000, perSecond: 4 }
  : { workers: 4, everyMs: 600, restarts: 8, graceMs: 3000, leaseMs: 2000, shortMs: 1500, longMs: 7000, perSecond: 20 };
const CONCURRENCY = 10;
/** Every so many tasks one is longer than the grace. */
const LONG_EVERY = 25;
/** After the exit of its worker. */
const ELSEWHERE_MS = 2000;
/** A machine that is busy starting processes is late with everything. */
const SLACK_MS = isSoak ? 1000 : 3000;

test(
  `rolling restart of ${plan.workers} workers every ${plan.everyMs} ms, ${plan.restarts} times: none lost, none repeated that the grace was enough for`,
  { timeout: plan.restarts * plan.everyMs * 2 + plan.longMs * 3 + 120_000 },
  async () => {
    await using redis = await RedisServer.start();
    await using workers = new RecordingWorkers({
      broker: redis.url,
      concurrency: CONCURRENCY,
      settings: { shutdownGrace: plan.graceMs / 1000, leaseTime: plan.leaseMs / 1000 },
    });
    await using app = new Lovage("deploys", { brokerUrl: redis.url, env: false, configFile: false });
    const timed = app.remote<[index: number, ms: number], void>("test.timed");
    const fleet = await Promise.all(Array.from({ length: plan.workers }, () => workers.start()));

    const over = new AbortController();
    const lengths: number[] = [];
    const publishing = (async () => {
      while (!over.signal.aborted) {
        const index = lengths.length;
        lengths.push(index % LONG_EVERY === LONG_EVERY - 1 ? plan.longMs : plan.shortMs * ((index % 10) / 10 + 0.05));
        await timed.delay(index, lengths[index] as number);
        await wait(1000 / plan.perSecond);
      }
    })();
    const exitedAt = new Map<number, number>();
    const stopMs: number[] = [];
    const stops: Promise<void>[] = [];
    for (let restart = 0; restart < plan.restarts; restart++) {
      const next = performance.now() + plan.everyMs;
      fleet.push(await workers.start());
      const old = fleet.shift() as (typeof fleet)[number];
      const toldAt = Date.now();
      old.process.once("exit", () => {
        exitedAt.set(old.process.pid as number, Date.now());
        stopMs.push(Date.now() - toldAt);
      });
      stops.push(old.end("SIGTERM"));
      await wait(Math.max(0, next - performance.now()));
    }
    over.abort();
    await publishing;
    await Promise.all(stops);
    const ended = new Set<number>();
    await untilEnded(workers, lengths.length, plan.longMs + plan.graceMs + 30_000, ended);

    const byTask = runsByTask(timedRuns(workers.lines()));
    const isShort = (index: number): boolean => (lengths[index] as number) < plan.graceMs;
    const repeated = [...byTask].filter(([, runs]) => runs.length > 1).map(([index]) => index);
    const waits = [...byTask.values()].flatMap((runs) =>
      runs.slice(1).map((run, at) => run.beganAt - (exitedAt.get(runs[at]?.pid as number) ?? Number.NaN)),
    );
    // oxlint-disable-next-line no-console -- figures for whoever reads the run
    console.log(
      `${lengths.length} tasks, ${plan.restarts} restarts: ${repeated.length} long ones interrupted, begun elsewhere at most ${Math.max(...waits)} ms after the exit; ` +
        `a stop took at most ${Math.max(...stopMs)} ms`,
    );
    expect(byTask.size).toBe(lengths.length);
    expect(repeated.filter(isShort)).toEqual([]);
    expect(waits.length).toBeGreaterThan(0); // or no task was longer than its worker lived
    expect(Math.max(...waits)).toBeLessThan(ELSEWHERE_MS + (isSoak ? 0 : SLACK_MS));
    expect(Math.max(...stopMs)).toBeLessThan(plan.graceMs + 2000 + SLACK_MS);
    await Promise.all(workers.alive.map((worker) => worker.end("SIGTERM")));
  },
);

async function untilEnded(workers: RecordingWorkers, count: number, withinMs: number, ended: Set<number>): Promise<void> {
  const haveAll = (): boolean => {
    for (const run of timedRuns(workers.lines())) if (run.endedAt !== undefined) ended.add(run.index);
    return ended.size >= count;
  };
  await eventually(`${count} tasks have ended`, haveAll, withinMs, 100).catch((error: Error) => {
    throw new Error(`${error.message}: ${ended.size} have\n${workers.log.slice(-20).join("\n")}`);
  });
}
