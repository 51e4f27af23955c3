/** What batches are for, measured: rows into PostgreSQL one by one, and by the hundred. */
import pg from "pg";
import { expect, test } from "vitest";
import { type BatchItem, type Logger, Lovage } from "lovage";
import { Worker } from "lovage/worker";
import { PostgresServer } from "../../support/postgres-server.ts";
import { RedisServer } from "../../support/redis-server.ts";

const ROWS = process.env.LOVAGE_SOAK === "1" ? 20_000 : 2000;
const CONCURRENCY = 10;
/** Says nothing: lines for each task would be most of what is measured. */
const logger: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => logger, isLevelEnabled: () => false };

test(`${ROWS} rows inserted by batches and one by one: the same rows, in a fraction of the statements`, async () => {
  await using server = await PostgresServer.start();
  await using redis = await RedisServer.start();
  await using app = new Lovage("bulk", {
    logger,
    brokerUrl: redis.url,
    resultBackend: redis.url,
    env: false,
    configFile: false,
    workerConcurrency: CONCURRENCY,
  });
  const pool = new pg.Pool({ connectionString: server.url, max: CONCURRENCY });
  try {
    await pool.query("CREATE TABLE rows (way text, n integer)");
    let statements = 0;
    const single = app.task("single", async (n: number) => {
      statements += 1;
      await pool.query("INSERT INTO rows VALUES ('single', $1)", [n]);
    });
    const batch = app.task({
      name: "batch",
      batch: { size: 100, wait: "100ms" },
      async run(_ctx, items: readonly BatchItem<[n: number]>[]) {
        statements += 1;
        await pool.query("INSERT INTO rows SELECT 'batch', unnest($1::int[])", [items.map(({ args: [n] }) => n)]);
      },
    });
    await using worker = new Worker(app);
    await worker.start();
    const measure = async (task: typeof single): Promise<{ statements: number; perSecond: number }> => {
      statements = 0;
      const begun = performance.now();
      const results = await task.map(Array.from({ length: ROWS }, (_, n) => [n]));
      await Promise.all(results.map((result) => result.get({ timeout: 120 })));
      return { statements, perSecond: Math.round((ROWS / (performance.now() - begun)) * 1000) };
    };
    const oneByOne = await measure(single);
    const byBatches = await measure(batch as unknown as typeof single);
    // oxlint-disable-next-line no-console -- figures for whoever reads the run
    console.log(
      `one by one: ${oneByOne.perSecond} rows/s; batches of 100: ${byBatches.perSecond} rows/s, ${byBatches.statements} statements`,
    );
    const { rows } = await pool.query("SELECT way, count(DISTINCT n)::int AS n, count(*)::int AS all FROM rows GROUP BY way ORDER BY way");
    expect(rows).toEqual([{ way: "batch", n: ROWS, all: ROWS }, { way: "single", n: ROWS, all: ROWS }]); // prettier-ignore
    expect(oneByOne.statements).toBe(ROWS);
    expect(byBatches.statements).toBeLessThanOrEqual(ROWS / 20);
    expect(byBatches.perSecond).toBeGreaterThan(oneByOne.perSecond);
  } finally {
    await pool.end();
  }
});
