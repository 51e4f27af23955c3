import { sql as drizzleSql } from "drizzle-orm";
import type { NodePgDatabase } from "drizzle-orm/node-postgres";
import type { Knex } from "knex";
import { type Kysely, sql as kyselySql } from "kysely";
import { delayAfterCommit, drizzleExecutor, knexExecutor, kyselyExecutor, Outbox, prismaExecutor, sqliteExecutor } from "lovage/outbox";
import { app, confirm } from "./outbox.ts";

const outbox = new Outbox(app);

/** The part of Prisma's generated client that is used. */
interface Prisma {
  $transaction<T>(run: (tx: { $executeRawUnsafe(sql: string, ...params: unknown[]): Promise<number> }) => Promise<T>): Promise<T>;
}

/** A database of `node:sqlite` or `better-sqlite3`. */
interface Sqlite {
  exec(sql: string): unknown;
  prepare(sql: string): { run(...params: (string | null)[]): unknown };
}

// #region libraries
export const withDrizzle = (db: NodePgDatabase) =>
  db.transaction((tx) => outbox.enqueue(drizzleExecutor(tx, drizzleSql), confirm.call("A-1")));

export const withKnex = (knex: Knex) => knex.transaction((trx) => outbox.enqueue(knexExecutor(trx), confirm.call("A-2")));

export const withKysely = (db: Kysely<object>) =>
  db.transaction().execute((trx) => outbox.enqueue(kyselyExecutor(trx, kyselySql), confirm.call("A-3")));

export const withPrisma = (prisma: Prisma) => prisma.$transaction((tx) => outbox.enqueue(prismaExecutor(tx), confirm.call("A-4")));

export async function withSqlite(db: Sqlite): Promise<void> {
  db.exec("BEGIN IMMEDIATE");
  await outbox.enqueue(sqliteExecutor(db), confirm.call("A-5"));
  db.exec("COMMIT");
}
// #endregion

// #region after-commit
export const afterCommit = (knex: Knex) =>
  knex.transaction(async (trx) => {
    await trx.raw("SELECT 1"); // your writes
    return delayAfterCommit(app, trx, confirm.call("A-6"));
  });
// #endregion
