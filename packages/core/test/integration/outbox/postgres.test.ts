/** What only PostgreSQL has: transactions that run beside each other. */
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Outbox } from "../../../src/outbox/outbox.ts";
import { pgClients } from "../../../src/outbox/postgres/client.ts";
import { PostgresStore } from "../../../src/outbox/postgres/postgres-store.ts";
import { OutboxRelay } from "../../../src/outbox/relay.ts";
import { systemClock } from "../../../src/shared/clock.ts";
import { connectPg, postgresOutbox } from "../../support/outboxes.ts";
import { PostgresServer } from "../../support/postgres-server.ts";

let server: PostgresServer;
beforeAll(async () => {
  server = await PostgresServer.start();
});
afterAll(() => server.stop());

const call = (n: number) => ({ name: "t", args: [n], options: { taskId: `task-${n}` } });

test("rows of a key keep their order, in whichever order their transactions end", async () => {
  await using home = await postgresOutbox(server);
  const outbox = new Outbox(home.app);
  const relay = new OutboxRelay(home.app, home.store);
  const slow = await home.begin();
  const quick = await home.begin();
  await outbox.enqueue(slow.executor, call(1), { key: "k" });
  await outbox.enqueue(quick.executor, call(2), { key: "k" });
  await outbox.enqueue(quick.executor, call(3)); // has no key, and waits for nobody
  await quick.commit();
  await relay.drain();
  expect((await home.sent()).map(({ id }) => id)).toEqual(["task-3"]);
  expect(await home.store.status()).toMatchObject({ waiting: 1, heldBack: 1 });
  expect(await relay.round()).toBe("heldBack");
  await slow.commit();
  await relay.drain();
  expect((await home.sent()).map(({ id }) => id)).toEqual(["task-1", "task-2"]);
});

test("a transaction that is rolled back holds nothing back any more, nor one that wrote no outbox", async () => {
  await using home = await postgresOutbox(server);
  const outbox = new Outbox(home.app);
  const relay = new OutboxRelay(home.app, home.store);
  const bystander = await home.begin();
  await bystander.run("CREATE TABLE something (n integer)"); // has a number among the transactions
  const dropped = await home.begin();
  await outbox.enqueue(dropped.executor, call(1), { key: "k" });
  const kept = await home.begin();
  await outbox.enqueue(kept.executor, call(2), { key: "k" });
  await kept.commit();
  await relay.drain();
  expect(await home.sent()).toEqual([]);
  await dropped.rollback();
  await relay.drain();
  expect((await home.sent()).map(({ id }) => id)).toEqual(["task-2"]);
  await bystander.commit();
});

test("savepoints: what was rolled back with one leaves no mark, and what comes after it leaves its own", async () => {
  await using home = await postgresOutbox(server);
  const outbox = new Outbox(home.app);
  const relay = new OutboxRelay(home.app, home.store);
  const first = await home.begin();
  await first.run("SAVEPOINT s");
  await outbox.enqueue(first.executor, call(1), { key: "k" });
  await first.run("ROLLBACK TO SAVEPOINT s");
  const second = await home.begin();
  await outbox.enqueue(second.executor, call(2), { key: "k" });
  await second.commit();
  await relay.drain();
  expect((await home.sent()).map(({ id }) => id)).toEqual(["task-2"]);

  await outbox.enqueue(first.executor, call(3), { key: "k" });
  const third = await home.begin();
  await outbox.enqueue(third.executor, call(4), { key: "k" });
  await third.commit();
  await relay.drain();
  expect(await home.sent()).toEqual([]);
  await first.commit();
  await relay.drain();
  expect((await home.sent()).map(({ id }) => id)).toEqual(["task-3", "task-4"]);
});

test("a transaction of many keys leaves one mark", async () => {
  await using home = await postgresOutbox(server);
  const outbox = new Outbox(home.app);
  const transaction = await home.begin();
  for (let n = 0; n < 50; n++) await outbox.enqueue(transaction.executor, call(n), { key: `key-${n}` });
  const admin = await connectPg(home.url);
  const { rows } = await admin.query(
    "SELECT count(*)::int AS marks FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
  );
  await admin.end();
  expect(rows).toEqual([{ marks: 1 }]);
  await transaction.commit();
});

test("racing transactions on few keys: every row once, each key in the order of its numbers", async () => {
  await using home = await postgresOutbox(server);
  const outbox = new Outbox(home.app);
  const stop = new AbortController();
  const relays = [1, 2].map(() => new OutboxRelay(home.app, home.openStore(), { batch: 20, pollMs: 5 }).run(stop.signal));
  const clients = await Promise.all(Array.from({ length: 6 }, () => connectPg(home.url)));
  let next = 0;
  const inserted = new Map<string, { key: string; seq: number }>();
  await Promise.all(
    clients.map(async (client, at) => {
      for (let round = 0; round < 40; round++) {
        await client.query("BEGIN");
        for (const key of [`k${(at + round) % 3}`, `k${round % 3}`]) {
          const id = `task-${next++}`;
          const executor = {
            dialect: "postgres" as const,
            execute: (sql: string, params: readonly (string | null)[]) => client.query(sql, params),
          };
          await outbox.enqueue(executor, { name: "t", args: [], options: { taskId: id } }, { key });
          const { rows } = await client.query("SELECT seq::float8 FROM lovage_outbox WHERE id = $1", [id]);
          inserted.set(id, { key, seq: rows[0]?.["seq"] as number });
        }
        const isKept = (at + round) % 5 !== 0;
        await client.query(isKept ? "COMMIT" : "ROLLBACK");
      }
      await client.end();
    }),
  );
  await vi.waitFor(async () => expect((await home.store.status()).waiting).toBe(0), 60_000);
  stop.abort();
  await Promise.all(relays);
  const sent = await home.sent();
  expect(new Set(sent.map(({ id }) => id)).size).toBe(sent.length);
  expect(sent.length).toBe((6 * 40 * 2 * 4) / 5);
  for (const key of ["k0", "k1", "k2"]) {
    const numbers = sent.map(({ id }) => inserted.get(id)).filter((row) => row?.key === key);
    const seqs = numbers.map((row) => row?.seq ?? 0);
    expect(seqs, key).toEqual(seqs.toSorted((a, b) => a - b));
  }
});

test("a relay whose connection is cut in a claim leaves its rows to the others at once", async () => {
  await using home = await postgresOutbox(server);
  const outbox = new Outbox(home.app);
  const transaction = await home.begin();
  await outbox.enqueue(transaction.executor, call(1), { key: "k" });
  await transaction.commit();
  const claim = await home.store.claim({ rows: 10, bytes: 1e6 });
  expect(claim.kind).toBe("claim");
  const other = new OutboxRelay(home.app, home.openStore());
  expect(await other.round()).toBe("idle"); // the lane is taken
  const admin = await connectPg(home.url);
  await admin.query(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lovage outbox' AND state = 'idle in transaction'",
  );
  await vi.waitFor(async () => expect(await other.round()).toBe("more"), 20_000);
  expect((await home.sent()).map(({ id }) => id)).toEqual(["task-1"]);
  if (claim.kind === "claim") await claim.settle({ published: [claim.rows[0]?.seq ?? 0], aside: [], refused: [] }); // it does no harm
  await admin.end();
});

test("a claim that stands still is ended by the server, and its rows are another's", async () => {
  await using home = await postgresOutbox(server);
  const transaction = await home.begin();
  await new Outbox(home.app).enqueue(transaction.executor, call(1), { key: "k" });
  await transaction.commit();
  await using frozen = new PostgresStore({ location: home.url, newClient: pgClients(home.url), clock: systemClock, claimMs: 300 });
  expect((await frozen.claim({ rows: 10, bytes: 1e6 })).kind).toBe("claim");
  const other = new OutboxRelay(home.app, home.store);
  expect(await other.round()).toBe("idle");
  await vi.waitFor(async () => expect(await other.round()).toBe("more"), 20_000);
  expect((await home.sent()).map(({ id }) => id)).toEqual(["task-1"]);
});

test("a database that is away is waited out", async () => {
  await using own = await PostgresServer.start();
  await using home = await postgresOutbox(own);
  const stop = new AbortController();
  const relay = new OutboxRelay(home.app, home.store, { pollMs: 50 });
  const running = relay.run(stop.signal);
  await own.kill();
  await vi.waitFor(() => expect(relay.counts.failedRounds).toBeGreaterThan(0), 30_000);
  await own.restart();
  const transaction = await home.begin();
  await new Outbox(home.app).enqueue(transaction.executor, call(1));
  await transaction.commit();
  await vi.waitFor(async () => expect(await home.sent()).toHaveLength(1), 30_000);
  stop.abort();
  await running;
});
