import { openSqliteFile, type SqliteDeps } from "../../stores/sqlite/open.ts";
import type { SqliteSpec } from "../../stores/sqlite/spec.ts";
import { SqliteBackend } from "./sqlite-backend.ts";

export type { SqliteSpec } from "../../stores/sqlite/spec.ts";

/**
 * Opens the embedded result backend. On the broker's file it shares the broker's database, so that a result is stored
 * in the transaction that acknowledges its task. @throws SqliteFileError, SqliteMissingError
 */
export async function openSqliteBackend(spec: SqliteSpec, deps: SqliteDeps): Promise<SqliteBackend> {
  return new SqliteBackend(spec, await openSqliteFile(spec, deps));
}
