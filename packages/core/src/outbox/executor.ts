/**
 * How a row gets into the transaction that the application has open. Whatever talks to the database needs to do one thing: execute a
 * statement with parameters, inside of that transaction. The shapes below are those of `pg`, Drizzle, Prisma, Knex, Kysely and of SQLite's
 * drivers as far as they are used; none of them is imported.
 */
import type { Dialect } from "./migrations.ts";

/** Parameters are texts and nulls. Placeholders are `$1`, `$2` ... for PostgreSQL and `?` for SQLite. */
export interface Executor {
  readonly dialect: Dialect;
  execute(sql: string, params: readonly (string | null)[]): unknown;
}

interface PgLike {
  query(text: string, values: unknown[]): unknown;
}

/** A client of `pg` that has begun a transaction. Not a pool: each of its queries may run on another connection. */
export function pgExecutor(client: PgLike): Executor {
  return { dialect: "postgres", execute: (sql, params) => client.query(sql, [...params]) };
}

interface SqlTag<Query> {
  (fragments: TemplateStringsArray, ...params: unknown[]): Query;
}

interface DrizzlePgLike<Query> {
  execute(query: Query): unknown;
}

interface DrizzleSqliteLike<Query> {
  run(query: Query): unknown;
}

/** Drizzle's transaction, and its `sql` from "drizzle-orm". */
export function drizzleExecutor<Query>(tx: DrizzlePgLike<Query> | DrizzleSqliteLike<Query>, sql: SqlTag<Query>): Executor {
  const isPg = "execute" in tx;
  return {
    dialect: isPg ? "postgres" : "sqlite",
    execute: (text, params) => (isPg ? tx.execute(tagged(sql, text, params)) : tx.run(tagged(sql, text, params))),
  };
}

interface KyselyLike {
  getExecutor(): unknown;
}

interface KyselyTag<Trx> {
  (fragments: TemplateStringsArray, ...params: unknown[]): { execute(trx: Trx): unknown };
}

/** Kysely's transaction, and its `sql` from "kysely". */
export function kyselyExecutor<Trx extends KyselyLike>(trx: Trx, sql: KyselyTag<Trx>, dialect: Dialect = "postgres"): Executor {
  return { dialect, execute: (text, params) => tagged(sql, text, params).execute(trx) };
}

interface PrismaLike {
  $executeRawUnsafe(sql: string, ...params: unknown[]): unknown;
}

/** The client that Prisma hands to the function of an interactive transaction. */
export function prismaExecutor(tx: PrismaLike, dialect: Dialect = "postgres"): Executor {
  return { dialect, execute: (sql, params) => tx.$executeRawUnsafe(sql, ...params) };
}

interface KnexLike {
  raw(sql: string, bindings: readonly (string | null)[]): unknown;
}

/** Knex's transaction. */
export function knexExecutor(trx: KnexLike, dialect: Dialect = "postgres"): Executor {
  return { dialect, execute: (sql, params) => trx.raw(sql.replaceAll(/\$\d+/g, "?"), params) }; // Knex numbers them itself
}

interface SqliteLike {
  prepare(sql: string): { run(...params: (string | null)[]): unknown };
}

/** A database of `node:sqlite` or `better-sqlite3` with a transaction open. */
export function sqliteExecutor(database: SqliteLike): Executor {
  return { dialect: "sqlite", execute: (sql, params) => database.prepare(sql).run(...params) };
}

/** Calls a template tag with the text cut at its placeholders, which come in order. */
function tagged<Query>(tag: SqlTag<Query>, text: string, params: readonly (string | null)[]): Query {
  const fragments = text.split(/\$\d+|\?/);
  return tag(Object.assign(fragments, { raw: fragments }), ...params);
}
