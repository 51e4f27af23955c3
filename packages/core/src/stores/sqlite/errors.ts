/**
 * What can be wrong with a database file, and what SQLite's own errors mean. Both drivers give the (extended) result
 * code as `errcode`, but for `all()` of @photostructure/sqlite 1.2, whose errors have only SQLite's text for the code.
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

/** What `sqlite3_errstr` says of these codes. */
const BY_TEXT: ReadonlyMap<string, SqliteProblem> = new Map([
  ["database is locked", "busy"],
  ["database table is locked", "busy"],
  ["attempt to write a readonly database", "readonly"],
  ["disk I/O error", "io"],
  ["database disk image is malformed", "corrupt"],
  ["database or disk is full", "full"],
  ["unable to open database file", "io"],
  ["file is not a database", "corrupt"],
]);

export function sqliteProblem(error: unknown): SqliteProblem {
  if (!(error instanceof Error)) return "other";
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  if (typeof errcode === "number") return BY_PRIMARY_CODE[errcode & 0xff] ?? "other";
  return (code === "ERR_SQLITE_ERROR" && BY_TEXT.get(error.message)) || "other";
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
