/**
 * The outbox in a SQLite database of the application's own. SQLite has one writer at a time, so one relay publishes, by a lease in the
 * file, and others stand by: a claim is that lease, and it ends with its process. New rows are noticed by `data_version`, which every commit of others changes.
 */
import { existsSync } from "node:fs";
import { sleep, type Clock, type Random } from "../../shared/clock.ts";
import { loadSqlite, type Database, type SqlValue } from "../../stores/sqlite/driver.ts";
import { explained, sqliteProblem } from "../../stores/sqlite/errors.ts";
import { OutboxSchemaError } from "../errors.ts";
import { missingMigrations } from "../migrations.ts";
import { isGone, LeaseOwner } from "./lease-owner.ts";
import type { AsideRow, Claim, ClaimLimits, ClaimOutcome, Nothing, OutboxRow, OutboxStatus, OutboxStore } from "../store.ts";

export interface SqliteStoreOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly random: Random;
  /** A relay that has not come back for so long is taken for dead. */
  readonly leaseMs: number;
}

/** Between two looks at `data_version`, which takes microseconds. */
const LOOK_MS = 25;
/** SQLite itself waits so long for a lock, and blocks the thread; after that we come back. */
const BLOCKING_WAIT_MS = 5;
const BUSY_MS = 5000;
const REFUSED_PAUSE_MS = 1000;
const REASON_MAX = 500;

const TAKE_LEASE = `
  INSERT INTO lovage_outbox_lease (only_one, owner, ends_at) VALUES (1, ?1, ?2)
  ON CONFLICT (only_one) DO UPDATE SET owner = excluded.owner, ends_at = excluded.ends_at
    WHERE owner = excluded.owner OR ends_at <= ?3 OR owner = ?4
  RETURNING owner`;

const READ_ROWS = `
  SELECT seq, id, key, task, args, kwargs, options, envelope, attempts, created_at FROM lovage_outbox
  WHERE retry_at <= ?1 AND (key IS NULL OR key NOT IN (SELECT key FROM lovage_outbox WHERE key IS NOT NULL AND retry_at > 0 AND retry_at > ?1))
  ORDER BY seq LIMIT ?2`;

const COLUMNS = "id, key, task, args, kwargs, options, envelope, created_at";

export class SqliteStore implements OutboxStore {
  readonly location: string;
  readonly #options: SqliteStoreOptions;
  readonly #owner = new LeaseOwner();
  #opening: Promise<Database> | undefined;
  #seenVersion = -1;

  constructor(options: SqliteStoreOptions) {
    this.location = `sqlite://${options.path}`;
    this.#options = options;
  }

  async claim(limits: ClaimLimits): Promise<Claim | Nothing> {
    this.#seenVersion = await this.#dataVersion();
    const anyRow = await this.#read("SELECT 1 FROM lovage_outbox LIMIT 1");
    const { clock, leaseMs } = this.#options;
    if (anyRow.length === 0) return { kind: "nothing", isHeldBack: false };
    const [other] = (await this.#read(
      "SELECT owner FROM lovage_outbox_lease WHERE owner <> ? AND ends_at > ?",
      this.#owner.name,
      clock.now(),
    )) as { owner: string }[];
    if (other !== undefined && !isGone(other.owner)) return { kind: "nothing", isHeldBack: false };
    const rows = await this.#write((database) => {
      const now = clock.now();
      const isOurs = database.prepare(TAKE_LEASE).get(this.#owner.name, now + leaseMs, now, other?.owner ?? null) !== undefined;
      return isOurs ? fitting(database.prepare(READ_ROWS).all(now, limits.rows).map(readRow), limits.bytes) : undefined;
    });
    if (rows === undefined || rows.length === 0) return { kind: "nothing", isHeldBack: rows !== undefined };
    return { kind: "claim", rows, settle: (outcome) => this.#settle(outcome), release: async () => undefined };
  }

  async #settle({ published, aside, refused }: ClaimOutcome): Promise<void> {
    const retryAt = this.#options.clock.now() + REFUSED_PAUSE_MS;
    await this.#write((database) => {
      const remove = database.prepare("DELETE FROM lovage_outbox WHERE seq = ?");
      const setAside = database.prepare(
        `INSERT INTO lovage_outbox_aside (seq, ${COLUMNS}, reason) SELECT seq, ${COLUMNS}, ?2 FROM lovage_outbox WHERE seq = ?1`,
      );
      const putOff = database.prepare("UPDATE lovage_outbox SET attempts = attempts + ?3, retry_at = ?2 WHERE seq = ?1");
      for (const seq of published) remove.run(seq);
      for (const { seq, reason } of aside) {
        setAside.run(seq, reason.slice(0, REASON_MAX));
        remove.run(seq);
      }
      for (const { seq, isItsFault } of refused) putOff.run(seq, retryAt, isItsFault ? 1 : 0);
    });
  }

  async wait(maxMs: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const until = clock.monotonic() + maxMs;
    do {
      await sleep(clock, Math.min(LOOK_MS, maxMs), signal).catch(() => undefined); // first, or a relay that stands by would never rest
      const version = await this.#dataVersion().catch(() => -1);
      if (version !== this.#seenVersion) return;
    } while (!signal.aborted && clock.monotonic() < until);
  }

  async status(): Promise<OutboxStatus> {
    const [row] = (await this.#read(
      "SELECT count(*) AS waiting, min(created_at) AS oldest, (SELECT count(*) FROM lovage_outbox_aside) AS aside FROM lovage_outbox",
    )) as { waiting: number; oldest: number | null; aside: number }[];
    const oldest = row?.oldest ?? undefined;
    const lagMs = oldest === undefined ? 0 : Math.max(0, this.#options.clock.now() - oldest);
    return { waiting: row?.waiting ?? 0, lagMs, heldBack: 0, setAside: row?.aside ?? 0 };
  }

  async listAside(limit: number): Promise<readonly AsideRow[]> {
    const rows = await this.#read(
      'SELECT seq, id, key, task, reason, created_at AS "createdAt", set_aside_at AS "setAsideAt" FROM lovage_outbox_aside ORDER BY seq LIMIT ?',
      limit,
    );
    return rows as unknown as AsideRow[]; // its columns, by these names
  }

  async retryAside(ids: readonly string[] | "all"): Promise<number> {
    const [where, values] = ids === "all" ? ["1", []] : [`id IN (${marks(ids)})`, ids];
    return await this.#write((database) => {
      database
        .prepare(`INSERT INTO lovage_outbox (${COLUMNS}) SELECT ${COLUMNS} FROM lovage_outbox_aside WHERE ${where} ORDER BY seq`)
        .run(...values);
      return Number(database.prepare(`DELETE FROM lovage_outbox_aside WHERE ${where}`).run(...values).changes);
    });
  }

  async discardAside(which: readonly string[] | { readonly olderThanMs: number }): Promise<number> {
    const [where, values] =
      "olderThanMs" in which ? ["set_aside_at < ?", [this.#options.clock.now() - which.olderThanMs]] : [`id IN (${marks(which)})`, which];
    return await this.#write((database) =>
      Number(database.prepare(`DELETE FROM lovage_outbox_aside WHERE ${where}`).run(...values).changes),
    );
  }

  async migrate(): Promise<readonly number[]> {
    return await this.#write((database) => {
      const isThere = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'lovage_outbox_schema'").get() !== undefined;
      const newest = isThere
        ? (database.prepare("SELECT max(version) AS v FROM lovage_outbox_schema").get() as { v: number }).v
        : undefined;
      const missing = missingMigrations("sqlite", newest, this.location);
      for (const { sql } of missing) database.exec(sql);
      return missing.map(({ version }) => version);
    }, true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const giveBack = (database: Database): unknown =>
      database.prepare("DELETE FROM lovage_outbox_lease WHERE owner = ?").run(this.#owner.name);
    const database = await this.#opening?.catch(() => undefined);
    if (database !== undefined) await this.#write(giveBack).catch(() => undefined); // then it runs out
    this.#owner[Symbol.dispose]();
    database?.close();
    this.#opening = undefined;
  }

  async #dataVersion(): Promise<number> {
    const [row] = (await this.#read("PRAGMA data_version")) as { data_version: number }[];
    return row?.data_version ?? -1;
  }

  #read(sql: string, ...values: readonly SqlValue[]): Promise<unknown[]> {
    return this.#insist((database) => database.prepare(sql).all(...values));
  }

  /** One transaction; `work` may run again when the file was held by others. */
  #write<T>(work: (database: Database) => T, mayMake = false): Promise<T> {
    return this.#insist((database) => {
      database.exec("BEGIN IMMEDIATE");
      try {
        const answer = work(database);
        database.exec("COMMIT");
        return answer;
      } catch (error) {
        try {
          database.exec("ROLLBACK");
        } catch {
          // SQLite has rolled back by itself
        }
        throw error;
      }
    }, mayMake);
  }

  /** @throws SqliteBusyError, SqliteFileError, OutboxSchemaError */
  async #insist<T>(work: (database: Database) => T, mayMake = false): Promise<T> {
    const { clock, path, random } = this.#options;
    const giveUpAt = clock.monotonic() + BUSY_MS;
    for (;;) {
      try {
        return work(await (this.#opening ??= this.#open(mayMake)));
      } catch (error) {
        if (error instanceof Error && /no such table/.test(error.message))
          throw new OutboxSchemaError(this.location, "is not there: `lovage outbox migrate` makes its tables", { cause: error });
        if (sqliteProblem(error) !== "busy" || clock.monotonic() >= giveUpAt) throw explained(path, error);
        await sleep(clock, 5 + 20 * random());
      }
    }
  }

  async #open(mayMake: boolean): Promise<Database> {
    try {
      const DatabaseSync = await loadSqlite();
      if (!mayMake && !existsSync(this.#options.path)) throw new OutboxSchemaError(this.location, "is not there: there is no such file");
      const database = new DatabaseSync(this.#options.path);
      database.exec(`PRAGMA busy_timeout = ${BLOCKING_WAIT_MS}`);
      return database;
    } catch (error) {
      this.#opening = undefined; // whoever asks next tries again
      throw error;
    }
  }
}

function readRow(row: unknown): OutboxRow {
  const { created_at: createdAt, ...rest } = row as Omit<OutboxRow, "createdAt"> & { created_at: number }; // READ_ROWS names them
  return { ...rest, createdAt };
}

/** At least one. */
function fitting(rows: readonly OutboxRow[], maxBytes: number): readonly OutboxRow[] {
  let bytes = 0;
  const end = rows.findIndex((row) => {
    const isFull = bytes >= maxBytes;
    bytes += (row.envelope?.length ?? 0) + row.args.length + row.kwargs.length + row.options.length;
    return isFull;
  });
  return end === -1 ? rows : rows.slice(0, end);
}

function marks(ids: readonly string[]): string {
  return ids.map(() => "?").join(", ");
}
