/**
 * Opens database files, each once for the process: whoever asks for the same file gets the same `SqliteFile`, and the
 * last one to let go closes it.
 */
import { sleep, type Clock, type Random } from "../../shared/clock.ts";
import type { Logger } from "../../shared/log.ts";
import { Bell } from "./bell.ts";
import { isUnsafeVersion, loadSqlite, type Database, type DatabaseConstructor } from "./driver.ts";
import { explained, sqliteProblem, SqliteFileError } from "./errors.ts";
import { canonicalPath, createPrivate, refuseNetwork } from "./file-system.ts";
import { SqliteFile } from "./file.ts";
import { migrate, needsMigration } from "./migrate.ts";
import type { SqliteSpec } from "./spec.ts";

export interface SqliteDeps {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: Random;
}

/** A share in an open file. */
export interface SqliteLease extends AsyncDisposable {
  readonly file: SqliteFile;
}

interface Opened {
  readonly file: SqliteFile;
  readonly database: Database;
}

interface Shared {
  readonly opening: Promise<Opened>;
  users: number;
}

/** SQLite itself waits so long for a lock before it reports the file as busy: it blocks the thread meanwhile. */
const BLOCKING_WAIT_MS = 3;

/** A page holds four envelopes of usual size. A larger one is faster for them, and slower for results, whose ids come in no order. */
const PAGE_BYTES = 4096;
/** The WAL is copied into the database when it has grown to 32 MiB: rarer than SQLite does it by itself, for each time waits for the disk. */
const CHECKPOINT_PAGES = 8000;
/** A WAL that grew beyond this is cut back. */
const WAL_KEPT_BYTES = 64 * 1024 * 1024;
const CACHE_KIB = 16 * 1024;

const shared = new Map<string, Shared>();

/** @throws SqliteFileError, SqliteMissingError */
export async function openSqliteFile(spec: SqliteSpec, deps: SqliteDeps): Promise<SqliteLease> {
  const path = canonicalPath(spec.path);
  const held = shared.get(path) ?? { opening: openFile(path, spec, deps), users: 0 };
  shared.set(path, held);
  held.users++;
  let released = false;
  const release = async (): Promise<void> => {
    if (released) return;
    released = true;
    held.users--;
    if (held.users > 0) return;
    shared.delete(path);
    const opened = await held.opening.catch(() => undefined);
    opened?.file.close();
  };
  try {
    const { file, database } = await held.opening;
    if (spec.synchronous === "FULL") database.exec("PRAGMA synchronous = FULL");
    return { file, [Symbol.asyncDispose]: release };
  } catch (error) {
    await release();
    throw error;
  }
}

/**
 * Opens a file by a connection of its own, as another process would: what it commits, the shared one hears of by the
 * doorbell. For tests. @throws SqliteFileError, SqliteMissingError
 */
export async function openUnshared(spec: SqliteSpec, deps: SqliteDeps): Promise<SqliteLease> {
  const { file } = await openFile(canonicalPath(spec.path), spec, deps);
  return { file, [Symbol.asyncDispose]: async () => file.close() };
}

async function openFile(path: string, spec: SqliteSpec, deps: SqliteDeps): Promise<Opened> {
  const DatabaseSync = await loadSqlite();
  refuseNetwork(path);
  createPrivate(path);
  const giveUpAt = deps.clock.monotonic() + spec.timeoutMs;
  for (;;) {
    try {
      return openDatabase(DatabaseSync, path, deps);
    } catch (error) {
      if (sqliteProblem(error) !== "busy" || deps.clock.monotonic() >= giveUpAt) throw explained(path, error);
      await sleep(deps.clock, 5 + 20 * deps.random()); // another process is making or migrating the file
    }
  }
}

function openDatabase(DatabaseSync: DatabaseConstructor, path: string, deps: SqliteDeps): Opened {
  const database = new DatabaseSync(path);
  try {
    database.exec(`PRAGMA busy_timeout = ${BLOCKING_WAIT_MS}`);
    database.exec("BEGIN"); // one look: another process may be making the file at this moment
    const mustMigrate = needsMigration(database, path); // before anything is changed: the file may be another program's
    database.exec("COMMIT");
    if (mustMigrate) database.exec(`PRAGMA page_size = ${PAGE_BYTES}`);
    useWal(database, path);
    database.exec(`
      PRAGMA synchronous = NORMAL;
      PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES};
      PRAGMA journal_size_limit = ${WAL_KEPT_BYTES};
      PRAGMA cache_size = -${CACHE_KIB};
      PRAGMA temp_store = MEMORY;
    `);
    if (mustMigrate) {
      database.exec("BEGIN IMMEDIATE");
      migrate(database, path);
      database.exec("COMMIT");
    }
    warnOfOldSqlite(database, deps.logger);
    const version = database.prepare("PRAGMA data_version");
    const dataVersion = (): number => (version.get() as { data_version: number }).data_version;
    const bell = new Bell({ path: `${path}-bell`, clock: deps.clock, dataVersion });
    return { database, file: new SqliteFile({ path, database, bell, clock: deps.clock, random: deps.random }) };
  } catch (error) {
    database.close();
    throw error;
  }
}

function useWal(database: Database, path: string): void {
  const { journal_mode: mode } = database.prepare("PRAGMA journal_mode = WAL").get() as { journal_mode: string };
  if (mode === "wal") return;
  throw new SqliteFileError(path, `cannot use a write-ahead log here (SQLite stays at "${mode}"): put it on a local disk`);
}

let warned = false;

function warnOfOldSqlite(database: Database, logger: Logger): void {
  const { version } = database.prepare("SELECT sqlite_version() AS version").get() as { version: string };
  if (warned || !isUnsafeVersion(version)) return;
  warned = true;
  logger.warn(
    { sqlite: version },
    "this Node brings an SQLite with a bug that can damage a file written by several processes: update Node, or use one process",
  );
}
