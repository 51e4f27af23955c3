/**
 * One API for SQLite: Node's own `node:sqlite` where it exists (22.13 and later), else the package
 * `@photostructure/sqlite`, which has the same. Loaded on first use, so that who does not use SQLite never pays for it.
 */
import { LovageError } from "../../shared/errors.ts";

/** The part of `DatabaseSync` that Lovage uses. */
export interface Database {
  exec(sql: string): void;
  prepare(sql: string): Statement;
  close(): void;
}

export interface Statement {
  run(...parameters: readonly SqlValue[]): { readonly changes: number | bigint; readonly lastInsertRowid: number | bigint };
  get(...parameters: readonly SqlValue[]): unknown;
  all(...parameters: readonly SqlValue[]): unknown[];
}

export type SqlValue = string | number | Uint8Array | null;

export type DatabaseConstructor = new (path: string) => Database;

/** SQLite older than this can damage a file that several processes write (the WAL-reset bug). */
const FIRST_SAFE_VERSION = "3.51.3";

/** Neither Node's SQLite nor the package is there. */
export class SqliteMissingError extends LovageError {
  readonly code = "SQLITE_MISSING";

  constructor(cause: unknown) {
    super(`this Node (${process.version}) has no SQLite: use Node 22.13 or later, or install the package @photostructure/sqlite`, {
      cause,
    });
  }
}

export async function loadSqlite(): Promise<DatabaseConstructor> {
  const builtin = builtinSqlite();
  if (builtin !== undefined) return builtin;
  try {
    const shim = await import("@photostructure/sqlite");
    return shim.DatabaseSync;
  } catch (error) {
    throw new SqliteMissingError(error);
  }
}

/** Whether this version of SQLite, e.g. `3.50.4`, has the bug that several writing processes can meet. */
export function isUnsafeVersion(version: string): boolean {
  const parts = version.split(".").map(Number);
  for (const [at, wanted] of FIRST_SAFE_VERSION.split(".").map(Number).entries()) {
    const part = parts[at] ?? 0;
    if (part !== wanted) return part < wanted;
  }
  return false;
}

/** Node 22 warns that SQLite is experimental: that one warning is kept from the users of Lovage, no other. */
function builtinSqlite(): DatabaseConstructor | undefined {
  // oxlint-disable-next-line typescript/unbound-method -- called on the process, and put back as it was
  const emitWarning = process.emitWarning;
  const filtered = (warning: string | Error, ...rest: readonly unknown[]): void => {
    const [type] = rest;
    if (type === "ExperimentalWarning" && String(warning).includes("SQLite")) return;
    Reflect.apply(emitWarning, process, [warning, ...rest]);
  };
  process.emitWarning = filtered;
  try {
    const sqlite = process.getBuiltinModule?.("node:sqlite") as { DatabaseSync: DatabaseConstructor } | undefined; // not in the types of Node 20
    return sqlite?.DatabaseSync;
  } finally {
    process.emitWarning = emitWarning;
  }
}
