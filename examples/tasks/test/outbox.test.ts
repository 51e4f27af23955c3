/** The page about the outbox, as its reader would try it: PostgreSQL, the command line, and a program in Python. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import knexOf from "knex";
import { Kysely, PostgresDialect } from "kysely";
import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Worker } from "lovage/worker";
import type * as Example from "../outbox.ts";
import type * as Libraries from "../outbox-libraries.ts";
import { PostgresServer } from "../../../packages/core/test/support/postgres-server.ts";
import { python, pythonHas } from "../../../packages/core/test/support/python.ts";
import { freePort, RedisServer } from "../../../packages/core/test/support/redis-server.ts";

const run = promisify(execFile);
const folder = fileURLToPath(new URL("..", import.meta.url));
const cli = fileURLToPath(new URL("../../../packages/core/dist/cli/main.js", import.meta.url));

let server: PostgresServer;
let redis: RedisServer;
let pool: pg.Pool;
let example: typeof Example;
let libraries: typeof Libraries;

async function lovage(...args: string[]): Promise<string> {
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, CELERY_BROKER_URL: redis.url, CELERY_OUTBOX_URL: server.url };
  return (await run(process.execPath, [cli, "-A", "outbox.ts", "outbox", ...args], { cwd: folder, env, timeout: 60_000 })).stdout;
}

beforeAll(async () => {
  [server, redis] = await Promise.all([PostgresServer.start(), RedisServer.start()]);
  process.env.CELERY_BROKER_URL = redis.url;
  process.env.CELERY_RESULT_BACKEND = redis.url;
  process.env.CELERY_OUTBOX_URL = server.url;
  example = await import("../outbox.ts");
  libraries = await import("../outbox-libraries.ts");
  pool = new pg.Pool({ connectionString: server.url });
  await pool.query("CREATE TABLE orders (id text PRIMARY KEY, customer text NOT NULL)");
  expect(await lovage("migrate")).toContain("now has schema 1");
});
afterAll(async () => {
  await pool.end();
  await example.app.close();
  await Promise.all([server.stop(), redis.stop()]);
});

test("a relay in a program of one's own tells its lag", async () => {
  const stop = new AbortController();
  const port = await freePort();
  const relaying = example.measuredRelayUntil(stop.signal, port);
  const page = async (): Promise<string> => await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  await expect.poll(page, { timeout: 20_000 }).toMatch(/^lovage_outbox_lag_seconds\{outbox="postgres:[^"]*"\} 0$/m);
  stop.abort();
  await relaying;
});

test("an order that is stored sends its mail, one that is not sends none", async () => {
  const id = await example.placeOrder(pool, "A-1", "ada");
  await expect(example.placeOrder(pool, "A-1", "ada")).rejects.toThrow("duplicate key");
  expect(await lovage("status")).toMatch(/waiting +1, the oldest for /);
  expect(await lovage("relay", "--once")).toBe("1 row published\n");
  const stop = new AbortController();
  const relaying = example.relayUntil(stop.signal);
  const second = await example.placeOrder(pool, "A-2", "ada");
  await using worker = new Worker(example.app);
  await worker.start();
  expect(await example.app.result(id).get({ timeout: "20s" })).toBe("mail about A-1");
  expect(await example.app.result(second).get({ timeout: "20s" })).toBe("mail about A-2");
  stop.abort();
  await relaying;
  expect(JSON.parse(await lovage("status", "--json"))).toMatchObject({ waiting: 0, setAside: 0 });
});

test("the other libraries", async () => {
  const knex = knexOf({ client: "pg", connection: server.url });
  const db = new Kysely<object>({ dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: server.url }) }) });
  await libraries.withDrizzle(drizzle({ client: pool }));
  await libraries.withKnex(knex);
  await libraries.withKysely(db);
  expect(await lovage("relay", "--once")).toBe("3 rows published\n");
  const sent = await libraries.afterCommit(knex);
  await using worker = new Worker(example.app);
  await worker.start();
  expect(await sent.get({ timeout: "20s" })).toBe("mail about A-6");
  await Promise.all([knex.destroy(), db.destroy()]);
});

const program = `
import psycopg, sys
from outbox import enqueue

with psycopg.connect(sys.argv[1]) as connection:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO orders (id, customer) VALUES ('P-1', 'guido')")
        print(enqueue(cursor, "mail.confirm", ["P-1"], key="guido", countdown=1))
with psycopg.connect(sys.argv[1]) as connection:
    with connection.cursor() as cursor:
        enqueue(cursor, "mail.confirm", ["never"])
    connection.rollback()
`;

test.skipIf(!pythonHas("psycopg"))("a program in Python writes into the same outbox", async () => {
  const { stdout } = await run(python as string, ["-B", "-c", program, server.url], { cwd: `${folder}../celery`, timeout: 60_000 });
  expect(await lovage("relay", "--once")).toBe("1 row published\n");
  await using worker = new Worker(example.app);
  await worker.start();
  expect(await example.app.result(stdout.trim()).get({ timeout: "30s" })).toBe("mail about P-1");
});
