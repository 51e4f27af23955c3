/** `lovage outbox` as an operator types it, on a SQLite database of the application's own. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadSqlite } from "../../../src/stores/sqlite/driver.ts";
import { probe } from "../../support/health-probe.ts";
import { Project } from "./project.ts";

async function shop(): Promise<
  AsyncDisposable & {
    project: Project;
    sql(statement: string): void;
    ask(...argv: string[]): Promise<{ code: number | null; stdout: string; stderr: string }>;
  }
> {
  const project = new Project();
  const file = join(project.directory, "shop.db");
  const DatabaseSync = await loadSqlite();
  return {
    project,
    sql(statement) {
      const database = new DatabaseSync(file);
      database.exec("PRAGMA busy_timeout = 5000");
      database.exec(statement);
      database.close();
    },
    ask: (...argv) => project.run(["-A", "src/app.ts", "outbox", ...argv], { env: { CELERY_OUTBOX_URL: "sqlite://shop.db" } }),
    [Symbol.asyncDispose]: () => project[Symbol.asyncDispose](),
  };
}

test("from the tables to a task that runs, and what cannot be sent", async () => {
  await using home = await shop();
  expect(await home.ask("status")).toMatchObject({ code: 78, stderr: expect.stringContaining("there is no such file") as string });
  expect(await home.ask("migrate")).toMatchObject({ code: 0, stdout: expect.stringContaining("now has schema 1") as string });
  expect((await home.ask("migrate")).stdout).toContain("is up to date");

  home.sql("BEGIN; INSERT INTO lovage_outbox (id, task, args) VALUES ('good', 'shop.add', '[2, 3]'); COMMIT");
  home.sql("INSERT INTO lovage_outbox (id, key, task, envelope) VALUES ('bad', 'k', 'shop.add', 'no json')");
  expect((await home.ask("status")).stdout).toMatch(/^waiting +2, the oldest for /);
  expect((await home.ask("status", "--max-lag", "0s")).code).toBe(1);
  expect(await home.ask("relay", "--once")).toMatchObject({
    code: 0,
    stdout: "1 row published\n",
    stderr: expect.stringContaining("it is set aside") as string,
  });
  expect(JSON.parse((await home.ask("status", "--json")).stdout)).toMatchObject({ waiting: 0, lagMs: 0, heldBack: 0, setAside: 1 });
  expect((await home.ask("aside")).stdout).toMatch(/shop\.add +bad +k +envelope: /);
  expect((await home.ask("retry")).code).toBe(2);
  expect(await home.ask("retry", "--id", "bad,other")).toMatchObject({
    code: 1,
    stdout: expect.stringContaining("1 row put back") as string,
  });
  expect((await home.ask("relay", "--once")).stdout).toBe("0 rows published\n");
  expect((await home.ask("discard")).code).toBe(2);
  expect((await home.ask("discard", "--id", "bad")).stdout).toBe("1 row discarded\n");
  expect((await home.ask("aside")).stdout).toBe("nothing is set aside\n");

  const queues = await home.project.run(["-A", "src/app.ts", "queues", "--json"]);
  expect(JSON.parse(queues.stdout)).toMatchObject([{ queue: "celery", ready: 1 }]);
});

test("a relay works until SIGTERM", async () => {
  await using home = await shop();
  await home.ask("migrate");
  const relay = home.project.start(["-A", "src/app.ts", "outbox", "relay", "-d", "sqlite://shop.db", "--metrics-port", "0"]);
  const [, port] = await relay.says(/metrics are served on http:\/\/127\.0\.0\.1:(\d+)\/metrics/);
  await relay.says(/the relay publishes what is in the outbox/);
  home.sql("INSERT INTO lovage_outbox (task, args) VALUES ('shop.add', '[2, 3]')");
  await expect
    .poll(async () => (JSON.parse((await home.ask("status", "--json")).stdout) as { waiting: number }).waiting, { timeout: 30_000 })
    .toBe(0);
  await expect
    .poll(async () => (await probe(Number(port), "/metrics"))?.body)
    .toMatch(/^lovage_outbox_published_total\{outbox="sqlite:[^"]*shop\.db"\} 1$/m);
  relay.signal("SIGTERM");
  expect(await relay.finished).toMatchObject({ code: 0, stderr: expect.stringMatching(/the relay has stopped.*published=1/) as string });
});

test("the schema as SQL, and addresses that cannot be used", async () => {
  await using home = await shop();
  const { stdout } = await home.ask("sql");
  home.sql(stdout);
  expect((await home.ask("migrate")).stdout).toContain("is up to date");
  expect((await home.ask("sql", "--dialect", "postgres")).stdout).toContain("CREATE FUNCTION lovage_outbox_horizon()");
  expect(await home.ask("status", "-d", "mysql://u:secret@db/shop")).toMatchObject({
    code: 78,
    stderr: expect.not.stringContaining("secret") as string,
  });
  expect(await home.ask("status", "-d", "postgres://u:secret@127.0.0.1:1/shop")).toMatchObject({
    code: 69,
    stderr: expect.not.stringContaining("secret") as string,
  });
});
