import { openSqliteFile, type SqliteDeps } from "../../stores/sqlite/open.ts";
import type { SqliteSpec } from "../../stores/sqlite/spec.ts";
import { SqliteBroker } from "./sqlite-broker.ts";

export type { SqliteSpec } from "../../stores/sqlite/spec.ts";

/**
 * Opens the embedded broker: a database file that this and other processes of the machine share. The file and its
 * directory are made when missing. @throws SqliteFileError, SqliteMissingError
 */
export async function openSqliteBroker(spec: SqliteSpec, deps: SqliteDeps): Promise<SqliteBroker> {
  return new SqliteBroker(spec, await openSqliteFile(spec, deps), deps);
}
