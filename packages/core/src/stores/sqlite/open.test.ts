import { mkdir, mkdtemp, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock, systemRandom } from "../../shared/clock.ts";
import { silentLogger } from "../../shared/log.ts";
import { loadSqlite } from "./driver.ts";
import { SqliteBusyError, SqliteFileError } from "./errors.ts";
import { openSqliteFile } from "./open.ts";
import { sqliteSpec } from "./spec.ts";
import { sources } from "./statements.ts";

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lovage-sqlite-"));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

const specOf = (name: string) => sqliteSpec(join(folder, name), { timeoutMs: 100 });

async function problemOf(name: string): Promise<SqliteFileError> {
  const error: unknown = await openSqliteFile(specOf(name), deps).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SqliteFileError);
  return error as SqliteFileError;
}

test("a missing file is made with its folder, for its owner alone", async () => {
  await using _lease = await openSqliteFile(specOf("deep/er/x.db"), deps);
  for (const suffix of ["", "-wal", "-shm", "-bell"]) {
    expect((await stat(join(folder, `deep/er/x.db${suffix}`))).mode & 0o777).toBe(0o600);
  }
  expect((await stat(dirname(join(folder, "deep/er/x.db")))).mode & 0o777).toBe(0o700);
});

test("one file is open once in a process, by whatever path, and closed by the last to let go", async () => {
  await mkdir(join(folder, "real"));
  await symlink(join(folder, "real"), join(folder, "link"));
  const [one, two] = await Promise.all([openSqliteFile(specOf("real/x.db"), deps), openSqliteFile(specOf("link/x.db"), deps)]);
  expect(one.file).toBe(two.file);
  await one[Symbol.asyncDispose]();
  await one[Symbol.asyncDispose](); // letting go twice is letting go once
  await two.file.write(() => two.file.sql("publish.addQueue").run("q"), { timeoutMs: 100 });
  await two[Symbol.asyncDispose]();
  await expect(two.file.write(() => 1, { timeoutMs: 100 })).rejects.toThrow("was closed");
  await using again = await openSqliteFile(specOf("real/x.db"), deps);
  expect(again.file).not.toBe(one.file);
  expect(again.file.sql("publish.queueNumber").get("q")).toBeDefined();
});

test("a file that is no database is refused, and stays as it was", async () => {
  await writeFile(join(folder, "x.db"), "this was never a database, ".repeat(1000));
  expect((await problemOf("x.db")).message).toMatch(/x\.db is damaged or is no database: move it away/);
});

test("a database of another program is refused, and stays as it was", async () => {
  const DatabaseSync = await loadSqlite();
  const other = new DatabaseSync(join(folder, "x.db"));
  other.exec("CREATE TABLE accounts (id); PRAGMA user_version = 3");
  other.close();
  expect((await problemOf("x.db")).message).toMatch(/belongs to another program/);
  const still = new DatabaseSync(join(folder, "x.db"));
  expect(still.prepare("PRAGMA journal_mode").get()).toEqual({ journal_mode: "delete" });
  still.close();
});

test("a newer schema is refused by name", async () => {
  await (await openSqliteFile(specOf("x.db"), deps))[Symbol.asyncDispose]();
  const DatabaseSync = await loadSqlite();
  const newer = new DatabaseSync(join(folder, "x.db"));
  newer.exec("PRAGMA user_version = 99");
  newer.close();
  expect((await problemOf("x.db")).message).toMatch(/written by a newer Lovage \(schema 99, this one knows \d+\): update Lovage/);
});

test("a failed opening leaves nothing open: the next one succeeds", async () => {
  await writeFile(join(folder, "x.db"), "no database".repeat(1000));
  await problemOf("x.db");
  await rm(join(folder, "x.db"));
  await using _lease = await openSqliteFile(specOf("x.db"), deps);
});

test("a file held by another writer is waited for, and given up at the deadline", async () => {
  await using lease = await openSqliteFile(specOf("x.db"), deps);
  const DatabaseSync = await loadSqlite();
  const other = new DatabaseSync(lease.file.path);
  other.exec("BEGIN IMMEDIATE");
  const write = () => lease.file.write(() => lease.file.sql("publish.addQueue").run("q"), { timeoutMs: 60 });
  await expect(write()).rejects.toThrow(SqliteBusyError);
  const waiting = write();
  other.exec("ROLLBACK");
  expect(await waiting).toMatchObject({ changes: 1 });
  other.close();
});

test("what a transaction threw in the middle of is undone", async () => {
  await using lease = await openSqliteFile(specOf("x.db"), deps);
  const broken = lease.file.write(
    () => {
      lease.file.sql("publish.addQueue").run("q");
      throw new RangeError("in the middle");
    },
    { timeoutMs: 100 },
  );
  await expect(broken).rejects.toThrow("in the middle");
  expect(lease.file.sql("publish.queueNumber").get("q")).toBeUndefined();
});

/** Whole tables are read only where all of it is wanted, or where it is bounded by the number of workers. */
const MAY_SCAN: Readonly<Record<string, RegExp>> = {
  "dead.reasons": /GROUP BY/, // a count by reason reads all of a queue's letters, when an operator asks for it
  "batch.due": /batches_due|ORDER BY/, // what waits for a worker to publish it, seconds as a rule
  "batch.unconfirmed": /ORDER BY/, // of one batch, what is being added
  "broadcast.forget": /broadcasts/, // the last minute of them
  "fair.queues": /f$/, // a row for each fair queue
  "lease.ended": /workers/,
  "lease.forget": /workers/,
  "lease.list": /workers/,
  "limit.countKept": /limit_kept/, // a thousand at most
  "limit.holders": /limit_holds/, // no more than the workers hold
  "limit.queues": /queues/,
  "limit.runningIds": /limit_running/, // no more than runs
  "limit.specs": /limit_specs/, // a row for each limit that was changed by hand
  "pause.forget": /pauses/, // a few queues, as people pause them
  "pause.count": /pauses/,
  "pause.list": /pauses/,
  "queue.depth": /loans/, // no more than the workers hold
  "revoked.forget": /revoked/, // the oldest 10,000
  "revoked.count": /revoked/, // only when there may be more than are kept
  "revoked.crowdOut": /revoked/, // as many as go
  "revoked.before": /revoked/, // as many as a worker that starts has room for
};

test("no statement reads a whole table, whatever the length of the backlog", async () => {
  await using lease = await openSqliteFile(specOf("x.db"), deps);
  const DatabaseSync = await loadSqlite();
  const database = new DatabaseSync(lease.file.path);
  const scans: string[] = [];
  for (const [name, sql] of sources()) {
    const plan = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all() as { detail: string }[];
    for (const { detail } of plan) {
      const isScan = /^SCAN (?!CONSTANT|\(subquery|sqlite_sequence|result_numbers|json_each)/.test(detail);
      if ((isScan || /TEMP B-TREE/.test(detail)) && !MAY_SCAN[name]?.test(detail)) scans.push(`${name}: ${detail}`);
    }
  }
  database.close();
  expect(sources().size).toBeGreaterThan(40);
  expect(scans).toEqual([]);
});
