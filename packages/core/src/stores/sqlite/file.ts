/**
 * One open database: its statements, its write transactions and its bell. Shared by the broker and the result backend
 * of the same file in this process, so that a settlement can be one transaction.
 *
 * SQLite is called synchronously. Nothing here blocks for more than a few milliseconds: a transaction is one batch, and
 * who finds the file held by another process comes back later instead of waiting inside SQLite.
 */
import { sleep, type Clock, type Random } from "../../shared/clock.ts";
import type { Bell } from "./bell.ts";
import type { Database, Statement } from "./driver.ts";
import { explained, sqliteProblem, SqliteFileError } from "./errors.ts";
import { Statements } from "./statements.ts";

export interface SqliteFileOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly database: Database;
  readonly bell: Bell;
}

export interface WriteOptions {
  readonly signal?: AbortSignal | undefined;
  /** Rejects with SqliteBusyError after so long. Infinity also waits out a full disk. */
  readonly timeoutMs: number;
}

/** The longest pause between two attempts: at a file held by others, and at a disk that refuses. */
const BUSY_PAUSE_MS = 32;
const DISK_PAUSE_MS = 1000;

export class SqliteFile {
  readonly path: string;
  readonly bell: Bell;
  readonly clock: Clock;
  readonly #random: Random;
  readonly #database: Database;
  readonly #statements: Statements;
  readonly #begin: Statement;
  readonly #commit: Statement;
  #closed = false;

  constructor(options: SqliteFileOptions) {
    this.path = options.path;
    this.bell = options.bell;
    this.clock = options.clock;
    this.#random = options.random;
    this.#database = options.database;
    this.#statements = new Statements(options.database);
    this.#begin = options.database.prepare("BEGIN IMMEDIATE");
    this.#commit = options.database.prepare("COMMIT");
  }

  /** A statement of the `.sql` files, e.g. `reserve.lend`. */
  sql(name: string): Statement {
    return this.#statements.get(name);
  }

  /**
   * Runs `work` in one write transaction; it may run more than once, and only the last run counts. When it throws,
   * nothing of it was done. @throws SqliteBusyError, SqliteFileError, the signal's reason, or what `work` threw.
   */
  async write<T>(work: () => T, options: WriteOptions): Promise<T> {
    return this.#insist(() => this.#transaction(work), options);
  }

  /** Runs `work`, which only reads. Several statements in it may see different states of the database. */
  async read<T>(work: () => T, options: WriteOptions): Promise<T> {
    return this.#insist(work, options);
  }

  /** May be called again. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.bell.close();
    this.#database.close();
  }

  async #insist<T>(work: () => T, { signal, timeoutMs }: WriteOptions): Promise<T> {
    const giveUpAt = this.clock.monotonic() + timeoutMs;
    for (let attempt = 0; ; attempt++) {
      signal?.throwIfAborted();
      if (this.#closed) throw new SqliteFileError(this.path, "was closed");
      try {
        return work();
      } catch (error) {
        const pauseMs = this.#pause(error, attempt, timeoutMs);
        if (pauseMs === undefined || this.clock.monotonic() >= giveUpAt) throw explained(this.path, error);
        await sleep(this.clock, pauseMs, signal);
      }
    }
  }

  /** How long to wait before the next attempt; undefined when another would not help. */
  #pause(error: unknown, attempt: number, timeoutMs: number): number | undefined {
    const problem = sqliteProblem(error);
    const longest = problem === "busy" ? BUSY_PAUSE_MS : DISK_PAUSE_MS;
    const again = problem === "busy" || (timeoutMs === Infinity && (problem === "full" || problem === "io"));
    return again ? (0.5 + this.#random()) * Math.min(2 ** attempt, longest) : undefined;
  }

  #transaction<T>(work: () => T): T {
    this.#begin.run();
    try {
      const result = work();
      this.#commit.run();
      return result;
    } catch (error) {
      try {
        this.#database.exec("ROLLBACK");
      } catch {
        // SQLite has rolled back by itself, as it does when the disk is full.
      }
      throw error;
    }
  }
}
