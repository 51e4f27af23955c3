/** Batches of messages while their workers die: none lost, each with the end of its own. */
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { LongWorkers } from "../support/long-workers.ts";
import { RedisServer } from "../support/redis-server.ts";
import { temporaryDatabase } from "../support/sqlite.ts";

const isSoak = process.env.LOVAGE_SOAK === "1";
const plan = isSoak ? { rows: 20_000, kills: 20 } : { rows: 1000, kills: 2 };
const SIZE = 20;
const CONCURRENCY = 2;

/** What becomes of each row, by its number. */
const stateOf = (row: number): string => (row % 10 === 7 ? "FAILURE" : "SUCCESS");

/** Two workers, of which one dies again and again once there are fifty notes more; another comes in its place. */
async function killInTurns(workers: LongWorkers, note: "row" | "call"): Promise<void> {
  let fleet = await Promise.all([workers.start(), workers.start()]);
  for (let kill = 0; kill < plan.kills; kill++) {
    const [victim, other] = fleet;
    const enough = Math.min(workers.noted(note).length + 50, plan.rows);
    await eventually(`${enough} notes`, () => workers.noted(note).length >= enough, 60_000);
    await workers.end(victim, "SIGKILL");
    fleet = [other, await workers.start()];
  }
}

test(
  `${plan.rows} rows in batches, ${plan.kills} workers killed: each row is in, each has its own result`,
  { timeout: 600_000 },
  async () => {
    await using redis = await RedisServer.start();
    await using workers = new LongWorkers(redis.url, { leaseTime: 1, workerConcurrency: CONCURRENCY, maxDeliveries: 1000 });
    const rows = workers.client.remote<[row: number], unknown>("rows");
    const results = await rows.map(Array.from({ length: plan.rows }, (_, i) => [i]));
    await killInTurns(workers, "row");
    const states = await Promise.all(
      results.map(async (result) => (await result.get({ propagate: false, timeout: 300 }), await result.state())),
    );
    expect(states).toEqual(results.map((_, row) => stateOf(row)));
    const noted = workers.noted("row");
    expect(new Set(noted).size).toBe(plan.rows);
    expect(noted.length - plan.rows).toBeLessThanOrEqual(plan.kills * 2 * CONCURRENCY * SIZE);
    const broker = await workers.client.broker();
    await eventually("an empty queue", async () => ((await broker.depth(["celery"]))[0]?.ready === 0 ? true : undefined));
  },
);

test(
  `${plan.rows} calls made one by key, ${plan.kills} workers killed: each call is in, each has its own result`,
  { timeout: 600_000 },
  async () => {
    await using redis = await RedisServer.start();
    await using workers = new LongWorkers(redis.url, { leaseTime: 1, workerConcurrency: CONCURRENCY, maxDeliveries: 1000 });
    const digest = workers.client.remote<[call: number], number>("digest");
    const results = await digest.map(Array.from({ length: plan.rows }, (_, i) => [i]));
    await killInTurns(workers, "call");
    expect(await Promise.all(results.map((result) => result.get({ timeout: 300 })))).toEqual(results.map((_, call) => call));
    expect(new Set(workers.noted("call")).size).toBe(plan.rows);
    const runs = workers.noted("run");
    expect(Math.max(...runs)).toBeLessThanOrEqual(25);
    expect(runs.length).toBeLessThan(plan.rows / 4); // they did become one
  },
);

test.each(["threads", "processes"] as const)(
  "%s run batches: marks, values, errors and retries come back for each",
  { timeout: 120_000 },
  async (pool) => {
    await using database = await temporaryDatabase();
    await using workers = new LongWorkers(`sqlite://${database.path}`, { workerPool: pool, workerConcurrency: 2 });
    const worker = await workers.start();
    const rows = workers.client.remote<[row: number], { row: number; at: Buffer }>("rows");
    const results = await rows.map(Array.from({ length: 50 }, (_, i) => [i]));
    const ends = await Promise.all(results.map((result) => result.get({ propagate: false, timeout: 60 })));
    for (const [row, end] of ends.entries()) {
      if (row % 10 === 7) expect(end).toMatchObject({ message: expect.stringContaining("a bad row") });
      else expect(end).toMatchObject({ row, at: Buffer.from([row]) });
    }
    expect(workers.noted("row").toSorted((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    await workers.end(worker, "SIGTERM");
  },
);
