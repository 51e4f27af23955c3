import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Database, loadSqlite } from "./driver.ts";
import { sqliteProblem } from "./errors.ts";

let dir: string;
let holder: Database;
let other: Database;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "lovage-errors-"));
  const DatabaseSync = await loadSqlite();
  holder = new DatabaseSync(join(dir, "held.db"));
  holder.exec("CREATE TABLE t (x)");
  other = new DatabaseSync(join(dir, "held.db"));
  other.exec("PRAGMA busy_timeout = 1");
});

afterAll(async () => {
  holder.close();
  other.close();
  await rm(dir, { recursive: true });
});

test.each<[string, (database: Database) => unknown]>([
  ["exec", (database) => database.exec("BEGIN IMMEDIATE")],
  ["run", (database) => database.prepare("INSERT INTO t VALUES (1)").run()],
  ["get", (database) => database.prepare("SELECT x FROM t").get()],
  ["all", (database) => database.prepare("PRAGMA data_version").all()], // needs no lock to be prepared, one to run
])("a file that is held is busy, whichever call of the driver meets it: %s", (_name, call) => {
  holder.exec("BEGIN EXCLUSIVE");
  try {
    expect(problemOf(() => call(other))).toBe("busy");
  } finally {
    holder.exec("COMMIT");
  }
});

test("an error is known by its code, and by SQLite's own words where a driver leaves the code out", () => {
  const withCode = (errcode: number): Error => Object.assign(new Error("said otherwise"), { code: "ERR_SQLITE_ERROR", errcode });
  expect(sqliteProblem(withCode(5 | (2 << 8)))).toBe("busy"); // SQLITE_BUSY_SNAPSHOT
  expect(sqliteProblem(withCode(1))).toBe("other");
  const said = (message: string): Error => Object.assign(new Error(message), { code: "ERR_SQLITE_ERROR" });
  expect(sqliteProblem(said("database or disk is full"))).toBe("full");
  expect(sqliteProblem(said("database disk image is malformed"))).toBe("corrupt");
  expect(sqliteProblem(said("no such table: t"))).toBe("other");
  expect(sqliteProblem(new Error("database is locked"))).toBe("other"); // not SQLite's
});

function problemOf(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return sqliteProblem(error);
  }
  return "no error";
}
