/**
 * What can be wrong with a database file, and what SQLite's own errors mean. Both drivers give the (extended) result
 * code as `errcode`.
 */
import { LovageError } from "../../shared/errors.ts";

/** The file cannot be used, and will not be until somebody changes something. */
export class SqliteFileError extends LovageError {
  readonly code = "SQLITE_FILE";
  readonly path: string;

  constructor(path: string, problem: string, options?: ErrorOptions) {
    super(`the SQLite database ${path} ${problem}`, options);
    this.path = path;
  }
}

/** The file cannot be written now: other processes hold it, or the disk is full. The same call may work later. */
export class SqliteBusyError extends LovageError {
  readonly code = "SQLITE_BUSY";
  override readonly transient = true;
  readonly path: string;
  /** `io`: whether the last commit was written is not known. */
  readonly problem: "busy" | "full" | "io";

  constructor(path: string, problem: "busy" | "full" | "io", cause: unknown) {
    super(`the SQLite database ${path} ${BUSY_TEXT[problem]}`, { cause });
    this.path = path;
    this.problem = problem;
  }
}

const BUSY_TEXT = {
  busy: "is held by another process",
  full: "could not be written: the disk is full",
  io: "could not be read or written: the disk answered with an error",
} as const;

export type SqliteProblem = "busy" | "full" | "io" | "corrupt" | "readonly" | "other";

const BY_PRIMARY_CODE: Readonly<Record<number, SqliteProblem>> = {
  5: "busy", // SQLITE_BUSY
  6: "busy", // SQLITE_LOCKED
  8: "readonly", // SQLITE_READONLY
  10: "io", // SQLITE_IOERR
  11: "corrupt", // SQLITE_CORRUPT
  13: "full", // SQLITE_FULL
  14: "io", // SQLITE_CANTOPEN
  26: "corrupt", // SQLITE_NOTADB
};

export function sqliteProblem(error: unknown): SqliteProblem {
  const code = error instanceof Error ? (error as { errcode?: unknown }).errcode : undefined;
  return typeof code === "number" ? (BY_PRIMARY_CODE[code & 0xff] ?? "other") : "other";
}

/** An error of ours that says what SQLite's means for the user; what is no matter of the file comes back as it was. */
export function explained(path: string, error: unknown): unknown {
  const problem = sqliteProblem(error);
  switch (problem) {
    case "busy":
    case "full":
    case "io":
      return new SqliteBusyError(path, problem, error);
    case "readonly":
      return new SqliteFileError(path, "may not be written by this user: check the owner and mode of the file and its directory", { cause: error }); // prettier-ignore
    case "corrupt":
      return new SqliteFileError(path, "is damaged or is no database: move it away, or restore a copy of it", { cause: error }); // prettier-ignore
    case "other":
      return error;
  }
}
