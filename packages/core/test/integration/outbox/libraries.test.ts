/** The outbox in transactions of the libraries that people use, as they give them. Prisma's client is generated for a project, so its shape stands in for it. */
import { sql as drizzleSql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import knexOf from "knex";
import { Kysely, PostgresDialect, sql as kyselySql } from "kysely";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { delayAfterCommit } from "../../../src/outbox/after-commit.ts";
import { drizzleExecutor, knexExecutor, kyselyExecutor, pgExecutor, prismaExecutor } from "../../../src/outbox/executor.ts";
import { Outbox } from "../../../src/outbox/outbox.ts";
import { OutboxRelay } from "../../../src/outbox/relay.ts";
import { type OutboxHome, postgresOutbox } from "../../support/outboxes.ts";
import { PostgresServer } from "../../support/postgres-server.ts";

let server: PostgresServer;
let home: OutboxHome;
beforeAll(async () => {
  server = await PostgresServer.start();
});
afterAll(() => server.stop());
beforeEach(async () => {
  home = await postgresOutbox(server);
});
afterEach(() => home[Symbol.asyncDispose]());

const call = { name: "t", args: ["it's $1 ? :a"] };
const ROLLED_BACK = new Error("rolled back");

/** Runs the function in a transaction that commits, and in one that does not. */
type Attempt = (run: (executor: Parameters<Outbox["enqueue"]>[0]) => Promise<unknown>) => Promise<unknown>;

async function expectOneOf(attempt: Attempt): Promise<void> {
  const outbox = new Outbox(home.app);
  let id = "";
  await attempt(async (executor) => {
    id = (await outbox.enqueue(executor, call, { key: "k" })).id;
    await outbox.enqueueMany(executor, [call, call]); // no key: a null parameter
  });
  const failing = attempt(async (executor) => {
    await outbox.enqueue(executor, call);
    throw ROLLED_BACK;
  });
  await expect(failing).rejects.toBe(ROLLED_BACK);
  await new OutboxRelay(home.app, home.store).drain();
  const sent = await home.sent();
  expect(sent).toHaveLength(3);
  expect(sent.find((task) => task.id === id)?.body).toContain("it's $1 ? :a");
}

test("pg", async () => {
  const pool = new pg.Pool({ connectionString: home.url, max: 1 });
  await expectOneOf(async (run) => {
    const client = await pool.connect();
    try {
      await client.query("BEGIN");
      await run(pgExecutor(client));
      await client.query("COMMIT");
    } catch (error) {
      await client.query("ROLLBACK");
      throw error;
    } finally {
      client.release();
    }
  });
  await pool.end();
});

test("Drizzle", async () => {
  const pool = new pg.Pool({ connectionString: home.url });
  const db = drizzle({ client: pool });
  await expectOneOf((run) => db.transaction((tx) => run(drizzleExecutor(tx, drizzleSql))));
  await pool.end();
});

test("Knex", async () => {
  const knex = knexOf({ client: "pg", connection: home.url });
  await expectOneOf((run) => knex.transaction((trx) => run(knexExecutor(trx))));
  await knex.destroy();
});

test("Kysely", async () => {
  const db = new Kysely<object>({ dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: home.url }) }) });
  await expectOneOf((run) => db.transaction().execute((trx) => run(kyselyExecutor(trx, kyselySql))));
  await db.destroy();
});

test("the shape of Prisma's client", async () => {
  const client = new pg.Client(home.url);
  await client.connect();
  await expectOneOf(async (run) => {
    await client.query("BEGIN");
    try {
      const tx = { $executeRawUnsafe: async (sql: string, ...params: unknown[]) => (await client.query(sql, params)).rowCount };
      await run(prismaExecutor(tx));
      await client.query("COMMIT");
    } catch (error) {
      await client.query("ROLLBACK");
      throw error;
    }
  });
  await client.end();
});

test("delayAfterCommit sends after the commit of Knex's transaction, and not after a rollback", async () => {
  const knex = knexOf({ client: "pg", connection: home.url });
  let id = "";
  await knex.transaction(async (trx) => {
    id = delayAfterCommit(home.app, trx, call).id;
    await trx.raw("SELECT 1");
    expect(await home.sent()).toEqual([]);
  });
  await vi.waitFor(async () => expect((await home.sent()).map((task) => task.id)).toEqual([id]), 10_000);
  const failing = knex.transaction(async (trx) => {
    delayAfterCommit(home.app, trx, call);
    throw ROLLED_BACK;
  });
  await expect(failing).rejects.toBe(ROLLED_BACK);
  expect(() => delayAfterCommit(home.app, () => undefined, { name: "t", args: [new Map()] })).toThrow("args[0]");
  const hooks: (() => void)[] = [];
  const other = delayAfterCommit(home.app, { afterCommit: (run: () => void) => hooks.push(run) }, call);
  const third = delayAfterCommit(home.app, (run) => void hooks.push(run), call);
  expect(await home.sent()).toEqual([]);
  for (const hook of hooks) hook();
  await vi.waitFor(async () => expect((await home.sent()).map((task) => task.id)).toEqual([other.id, third.id]), 10_000);
  await knex.destroy();
});
