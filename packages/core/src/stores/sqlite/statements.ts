/**
 * Reads the `.sql` files beside this one. Each file is one matter, its statements named by lines `-- name: reserve`;
 * what stands before the first name is the file's header.
 */
import { readdirSync, readFileSync } from "node:fs";
import type { Database, Statement } from "./driver.ts";

/** Prepares each statement on its first use and keeps it. */
export class Statements {
  readonly #database: Database;
  readonly #prepared = new Map<string, Statement>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** @param name `file.statement`, e.g. `reserve.lend` */
  get(name: string): Statement {
    let statement = this.#prepared.get(name);
    if (statement === undefined) {
      const text = sources().get(name);
      if (text === undefined) throw new Error(`no SQL statement is named ${name}`);
      statement = this.#database.prepare(text);
      this.#prepared.set(name, statement);
    }
    return statement;
  }
}

let read: ReadonlyMap<string, string> | undefined;

/** All statements by name; read once. */
export function sources(): ReadonlyMap<string, string> {
  return (read ??= readSources());
}

function readSources(): ReadonlyMap<string, string> {
  const statements = new Map<string, string>();
  const folder = new URL("./sql/", import.meta.url);
  for (const file of readdirSync(folder)) {
    const matter = file.replace(/\.sql$/, "");
    const [, ...parts] = readFileSync(new URL(file, folder), "utf8").split(/^-- name: /m);
    for (const part of parts) {
      const lineEnd = part.indexOf("\n");
      statements.set(`${matter}.${part.slice(0, lineEnd).trim()}`, part.slice(lineEnd + 1).trim());
    }
  }
  return statements;
}
