/** What holds for the outbox in every database. */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { serveRelayMetrics } from "../../../src/outbox/metrics.ts";
import { Outbox } from "../../../src/outbox/outbox.ts";
import { OutboxRelay } from "../../../src/outbox/relay.ts";
import { newId } from "../../../src/shared/ids.ts";
import { eventually } from "../../support/eventually.ts";
import { metric, probe } from "../../support/health-probe.ts";
import { type OutboxHome, postgresOutbox, sqliteOutbox } from "../../support/outboxes.ts";
import { PostgresServer } from "../../support/postgres-server.ts";

let server: PostgresServer;
beforeAll(async () => {
  server = await PostgresServer.start();
});
afterAll(() => server.stop());

describe.each([
  ["postgres", () => postgresOutbox(server)],
  ["sqlite", () => sqliteOutbox()],
] as [string, () => Promise<OutboxHome>][])("%s", (_, open) => {
  test("what was committed is sent under the id that was given, what was rolled back never is", async () => {
    await using home = await open();
    const outbox = new Outbox(home.app);
    const relay = new OutboxRelay(home.app, home.store);
    const dropped = await home.begin();
    await outbox.enqueue(dropped.executor, { name: "mail.send", args: ["never"] });
    await dropped.rollback();
    const kept = await home.begin();
    const sent = await outbox.enqueue(kept.executor, { name: "mail.send", args: ["a'b \u00e9"], options: { priority: 3 } }, { key: "k" });
    await relay.drain();
    expect(await home.sent()).toEqual([]);
    await kept.commit();
    expect(await home.store.status()).toMatchObject({ waiting: 1, setAside: 0 });
    await relay.drain();
    expect(await home.sent()).toMatchObject([{ id: sent.id, task: "mail.send", body: expect.stringContaining("a'b \\u00e9") as string }]);
    expect(await home.store.status()).toEqual({ waiting: 0, lagMs: 0, heldBack: 0, setAside: 0 });
    expect(relay.counts).toEqual({ published: 1, setAside: 0, failedRounds: 0 });
  });

  test("the lag is a metric where the relay runs, and says when the database is away", async () => {
    await using home = await open();
    const relay = new OutboxRelay(home.app, home.store);
    await using served = await serveRelayMetrics(relay, { port: 0 });
    const page = async (): Promise<string> => (await probe(served.port, "/metrics"))?.body ?? "";
    const value = async (name: string): Promise<number | undefined> => metric(await page(), `${name}{outbox="${home.store.location}"}`);
    expect(await value("lovage_outbox_waiting_rows")).toBe(0);
    expect(await value("lovage_outbox_lag_seconds")).toBe(0);
    const transaction = await home.begin();
    for (const n of [1, 2, 3]) await new Outbox(home.app).enqueue(transaction.executor, { name: "t", args: [n] });
    await transaction.commit();
    await eventually("three wait", async () => (await value("lovage_outbox_waiting_rows")) === 3);
    await eventually("the lag grows", async () => ((await value("lovage_outbox_lag_seconds")) ?? 0) > 1);
    await relay.drain();
    await eventually("none waits", async () => (await value("lovage_outbox_waiting_rows")) === 0);
    expect(await value("lovage_outbox_lag_seconds")).toBe(0);
    expect(await value("lovage_outbox_published_total")).toBe(3);
    expect(await value("lovage_outbox_up")).toBe(1);
    const { status } = home.store;
    home.store.status = async () => Promise.reject(new Error("away"));
    await eventually("the database is away", async () => (await value("lovage_outbox_up")) === 0);
    expect(await page()).not.toContain("lovage_outbox_waiting_rows");
    home.store.status = status;
    expect((await probe(served.port, "/other"))?.status).toBe(404);
  });

  test("arguments are checked at the call, and nothing is written", async () => {
    await using home = await open();
    const transaction = await home.begin();
    await expect(new Outbox(home.app).enqueue(transaction.executor, { name: "t", args: [{ a: [undefined] }] })).rejects.toThrow(
      "args[0].a[0]",
    );
    await transaction.commit();
    expect((await home.store.status()).waiting).toBe(0);
  });

  test("many relays send each row once, and the rows of a key in their order", async () => {
    await using home = await open();
    const outbox = new Outbox(home.app);
    const calls = Array.from({ length: 1200 }, (_, n) => ({ name: "t", args: [n], options: { taskId: `task-${n}` } }));
    const transaction = await home.begin();
    for (const [n, call] of calls.entries())
      if (n < 300) await outbox.enqueue(transaction.executor, call, n % 4 === 0 ? {} : { key: `key-${n % 7}` });
    await outbox.enqueueMany(transaction.executor, calls.slice(300), { key: "bulk" });
    await transaction.commit();

    const stop = new AbortController();
    const relays = [1, 2, 3].map(() => new OutboxRelay(home.app, home.openStore(), { batch: 50, pollMs: 20 }));
    const running = relays.map((relay) => relay.run(stop.signal));
    await vi.waitFor(async () => expect((await home.store.status()).waiting).toBe(0), 60_000);
    stop.abort();
    await Promise.all(running);

    const sent = (await home.sent()).map(({ id }) => Number(id.slice(5)));
    expect(sent.toSorted((a, b) => a - b)).toEqual(calls.map((_, n) => n));
    const keyOf = (n: number): string => (n >= 300 ? "bulk" : n % 4 === 0 ? `none-${n}` : `key-${n % 7}`);
    for (const key of new Set(sent.map(keyOf))) {
      const ofKey = sent.filter((n) => keyOf(n) === key);
      expect(ofKey, key).toEqual(ofKey.toSorted((a, b) => a - b));
    }
  });

  test("plain SQL is enough: the relay routes and writes the message", async () => {
    await using home = await open();
    home.app.task({ name: "known", queue: "own", run() {} });
    const transaction = await home.begin();
    const id = newId();
    await transaction.run(`INSERT INTO lovage_outbox (id, task, args, kwargs, options) VALUES ('${id}', 'plain', '[1, {"a": null}]', '{"b": 2}', '{"queue": "other", "countdown": 60, "time_limit": 5, "expires": "2099-01-01T00:00:00", "headers": {"x": "y"}, "eta": null}')`); // prettier-ignore
    await transaction.run("INSERT INTO lovage_outbox (task) VALUES ('known')");
    await transaction.commit();
    const before = Date.now();
    await new OutboxRelay(home.app, home.store).drain();
    const [plain] = await home.sent("other");
    expect(plain).toMatchObject({
      id,
      task: "plain",
      headers: { timelimit: [5, null], x: "y", expires: "2099-01-01T00:00:00.000000+00:00" },
    });
    expect(JSON.parse(plain?.body ?? "")).toEqual([[1, { a: null }], { b: 2 }, expect.anything()]);
    const eta = Date.parse(String(plain?.headers["eta"]));
    expect(Math.abs(eta - before - 60_000)).toBeLessThan(20_000);
    const [known] = await home.sent("own");
    expect(known?.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  test("a row that cannot be published is set aside with its reason, and its key goes on", async () => {
    await using home = await open();
    const outbox = new Outbox(home.app);
    const transaction = await home.begin();
    await transaction.run("INSERT INTO lovage_outbox (id, key, task, envelope) VALUES ('broken', 'k', 't', '{\"body\": 1}')");
    await transaction.run("INSERT INTO lovage_outbox (id, key, task, options) VALUES ('typo', 'k', 't', '{\"queu\": \"q\"}')");
    await transaction.run("INSERT INTO lovage_outbox (id, key, task, args) VALUES ('shape', 'k', 't', '{}')");
    const good = await outbox.enqueue(transaction.executor, { name: "t", args: [] }, { key: "k" });
    await transaction.commit();
    const relay = new OutboxRelay(home.app, home.store);
    await relay.drain();
    expect((await home.sent()).map(({ id }) => id)).toEqual([good.id]);
    expect(relay.counts).toMatchObject({ published: 1, setAside: 3 });
    const aside = await home.store.listAside(10);
    expect(aside).toMatchObject([
      { id: "broken", key: "k", task: "t", reason: expect.stringContaining("envelope.properties: not an object") as string },
      { id: "typo", reason: expect.stringContaining('"queu" is not an option of a call of t. Did you mean "queue"?') as string },
      { id: "shape", reason: "args is not a list" },
    ]);
    expect(Math.abs((aside[0]?.setAsideAt ?? 0) - Date.now())).toBeLessThan(60_000);
    expect(await home.store.status()).toMatchObject({ waiting: 0, setAside: 3 });

    expect(await home.store.discardAside(["shape"])).toBe(1);
    expect(await home.store.discardAside({ olderThanMs: 3_600_000 })).toBe(0);
    expect(await home.store.retryAside(["typo", "unknown"])).toBe(1);
    expect(await home.store.status()).toMatchObject({ waiting: 1, setAside: 1 });
    expect(await home.store.retryAside("all")).toBe(1);
    await relay.drain();
    expect((await home.store.listAside(10)).map(({ id }) => id).toSorted()).toEqual(["broken", "typo"]);
    expect(await home.store.discardAside({ olderThanMs: -1000 })).toBe(2);
  });

  test("a commit wakes the relay long before it would look by itself", async () => {
    await using home = await open();
    const stop = new AbortController();
    const running = new OutboxRelay(home.app, home.store, { pollMs: 3_600_000 }).run(stop.signal);
    for (let n = 0; n < 3; n++) {
      const transaction = await home.begin();
      await new Outbox(home.app).enqueue(transaction.executor, { name: "t", args: [n] });
      await transaction.commit();
      await vi.waitFor(async () => expect(await home.sent()).toHaveLength(1), 30_000);
    }
    stop.abort();
    await running;
  });

  test("without its tables the outbox says what to do", async () => {
    await using home = await open();
    const transaction = await home.begin();
    await transaction.run("DROP TABLE lovage_outbox");
    await transaction.commit();
    await expect(new OutboxRelay(home.app, home.store).run(new AbortController().signal)).rejects.toThrow(
      /`lovage outbox migrate` makes its tables/,
    );
  });

  test("a schema of the future is refused", async () => {
    await using home = await open();
    const transaction = await home.begin();
    await transaction.run("INSERT INTO lovage_outbox_schema (version) VALUES (99)");
    await transaction.commit();
    await expect(home.store.migrate()).rejects.toThrow("was made by a newer Lovage (schema 99, this one knows 1)");
  });

  test("a claim takes no more than fits, and at least one row", async () => {
    await using home = await open();
    const outbox = new Outbox(home.app);
    const transaction = await home.begin();
    for (let n = 0; n < 4; n++) await outbox.enqueue(transaction.executor, { name: "t", args: ["x".repeat(10_000)] }, { key: "k" });
    await transaction.commit();
    const claim = await home.store.claim({ rows: 100, bytes: 20_000 });
    expect(claim.kind === "claim" && claim.rows.length).toBe(2);
    if (claim.kind === "claim") await claim.release();
    const least = await home.store.claim({ rows: 100, bytes: 1 });
    expect(least.kind === "claim" && least.rows.length).toBe(1);
    if (least.kind === "claim") await least.release();
  });
});

test("SQLite: enqueueSync writes and throws at once; other databases are refused", async () => {
  await using home = await sqliteOutbox();
  const outbox = new Outbox(home.app);
  const transaction = await home.begin();
  const sent = outbox.enqueueSync(transaction.executor, { name: "t", args: [1] }, { key: "k" });
  expect(() => outbox.enqueueSync(transaction.executor, { name: "t", args: [new Map()] })).toThrow("args[0]: a Map");
  expect(() => outbox.enqueueSync({ dialect: "postgres", execute: () => undefined }, { name: "t", args: [] })).toThrow("use enqueue");
  await transaction.commit();
  await new OutboxRelay(home.app, home.store).drain();
  expect((await home.sent()).map(({ id }) => id)).toEqual([sent.id]);
});
