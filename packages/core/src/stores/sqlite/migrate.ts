/**
 * Brings a database to the schema of this version of Lovage. `migrations/` holds one file a step, by number; the number
 * of the last one is SQLite's `user_version`. A step is never changed once it has been released.
 */
import { readdirSync, readFileSync } from "node:fs";
import type { Database } from "./driver.ts";
import { SqliteFileError } from "./errors.ts";

/** "Lvge": says that a file is ours, in SQLite's `application_id`. */
const APPLICATION_ID = 0x4c766765;

interface Migration {
  readonly version: number;
  readonly sql: string;
}

/** Whether `migrate` has something to do. To be called in a transaction. @throws SqliteFileError when the file is another program's, or newer than we. */
export function needsMigration(database: Database, path: string): boolean {
  const version = pragma(database, "user_version");
  const owner = pragma(database, "application_id");
  const newest = migrations().at(-1)?.version ?? 0;
  if (owner === APPLICATION_ID && version > newest) {
    throw new SqliteFileError(
      path,
      `was written by a newer Lovage (schema ${version}, this one knows ${newest}): update Lovage in every process that uses it`,
    );
  }
  if (owner !== APPLICATION_ID && (owner !== 0 || version !== 0 || hasTables(database))) {
    throw new SqliteFileError(path, "belongs to another program: give Lovage a file of its own");
  }
  return version < newest;
}

/** To be called in a transaction, which makes several processes that open a new file wait for the first. */
export function migrate(database: Database, path: string): void {
  if (!needsMigration(database, path)) return;
  const version = pragma(database, "user_version");
  for (const migration of migrations()) {
    if (migration.version > version) database.exec(migration.sql);
  }
  database.exec(`PRAGMA user_version = ${migrations().at(-1)?.version ?? 0}`);
  database.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
}

function migrations(): readonly Migration[] {
  const folder = new URL("./migrations/", import.meta.url);
  return readdirSync(folder)
    .toSorted()
    .map((file) => ({ version: Number(file.slice(0, 4)), sql: readFileSync(new URL(file, folder), "utf8") }));
}

function hasTables(database: Database): boolean {
  return database.prepare("SELECT 1 FROM sqlite_schema LIMIT 1").get() !== undefined;
}

function pragma(database: Database, name: "user_version" | "application_id"): number {
  const row = database.prepare(`PRAGMA ${name}`).get() as Readonly<Record<string, number>>; // one row, named after the pragma
  return row[name] as number;
}
