/** The schema of the outbox as data: `<database>/migrations/`, one file a step. A step is never changed once it has been released. */
import { readdirSync, readFileSync } from "node:fs";
import { OutboxSchemaError } from "./errors.ts";

export type Dialect = "postgres" | "sqlite";

export interface Migration {
  readonly version: number;
  readonly sql: string;
}

export function migrationsOf(dialect: Dialect): readonly Migration[] {
  const folder = new URL(`./${dialect}/migrations/`, import.meta.url);
  return readdirSync(folder)
    .toSorted()
    .map((file) => ({ version: Number(file.slice(0, 4)), sql: readFileSync(new URL(file, folder), "utf8") }));
}

/** @param version of the database; undefined when it has no outbox. @throws OutboxSchemaError when we do not know it */
export function missingMigrations(dialect: Dialect, version: number | undefined, location: string): readonly Migration[] {
  const all = migrationsOf(dialect);
  const newest = all.at(-1)?.version ?? 0;
  if (version !== undefined && version > newest)
    throw new OutboxSchemaError(location, `was made by a newer Lovage (schema ${version}, this one knows ${newest}): update Lovage`);
  return all.filter((migration) => migration.version > (version ?? 0));
}

/** As `lovage outbox sql` prints it. */
export function migrationText(dialect: Dialect): string {
  return migrationsOf(dialect)
    .map(({ sql }) => sql)
    .join("\n");
}
