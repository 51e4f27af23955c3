/** What only this driver has to do; what every broker does is in test/conformance/broker.ts. */
import { once } from "node:events";
import { watch } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Message } from "../../protocol/message.ts";
import { systemClock, systemRandom, type Clock } from "../../shared/clock.ts";
import { silentLogger } from "../../shared/log.ts";
import { Bell } from "../../stores/sqlite/bell.ts";
import { loadSqlite, type Database } from "../../stores/sqlite/driver.ts";
import { SqliteFile } from "../../stores/sqlite/file.ts";
import { openUnshared } from "../../stores/sqlite/open.ts";
import { sqliteSpec, type SqliteSpec } from "../../stores/sqlite/spec.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import type { Broker, Delivery, LoanEnd, Outgoing } from "../broker.ts";
import { PublishError } from "../errors.ts";
import { openSqliteBroker } from "./index.ts";
import { SqliteBroker } from "./sqlite-broker.ts";

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };
let folder: string;
let opened: AsyncDisposable[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lovage-sqlite-"));
});

afterEach(async () => {
  for (const one of opened.toReversed()) await one[Symbol.asyncDispose]();
  opened = [];
  await rm(folder, { recursive: true, force: true });
});

function specOf(options: Partial<SqliteSpec> = {}): SqliteSpec {
  return sqliteSpec(join(folder, "x.db"), { timeoutMs: 200, ...options });
}

async function open(options: Partial<SqliteSpec> = {}, clock: Clock = systemClock): Promise<SqliteBroker> {
  const broker = await openSqliteBroker(specOf(options), { ...deps, clock });
  opened.push(broker);
  return broker;
}

/** As another process has it open. */
async function openElsewhere(): Promise<SqliteBroker> {
  const broker = new SqliteBroker(specOf(), await openUnshared(specOf(), deps), deps);
  opened.push(broker);
  return broker;
}

/** A connection of its own, to hold locks with and to look at tables. */
async function openDatabase(): Promise<Database> {
  const DatabaseSync = await loadSqlite();
  return new DatabaseSync(join(folder, "x.db"));
}

function outgoing(id: string, queue = "q", headers: Readonly<Record<string, unknown>> = {}): Outgoing {
  const message: Message = {
    headers: { id, ...headers },
    properties: { correlationId: id, replyTo: undefined, deliveryMode: 2, priority: 0, expirationMs: undefined, others: {} },
    contentType: "application/json",
    contentEncoding: "utf-8",
    body: Buffer.from("[[], {}, {}]"),
  };
  return { message, exchange: "", routingKey: queue };
}

async function take(broker: Broker, want: number, worker = "w", signal = new AbortController().signal): Promise<readonly Delivery[]> {
  for await (const batch of broker.consume(["q"], { worker, credit: { free: () => want, whenFree: async () => {} }, signal })) return batch;
  return [];
}

const idOf = (delivery: Delivery): unknown => delivery.open().message.headers["id"];
const settle = (broker: Broker, deliveries: readonly Delivery[], end: LoanEnd) =>
  broker.settle(deliveries.map((delivery) => ({ delivery, end })));

test("an idle consumer is woken by another connection's doorbell, well before it would look by itself", async () => {
  const [consumer, producer] = [await open(), await openElsewhere()];
  const times: number[] = [];
  for (let round = 0; round < 15; round++) {
    const taking = take(consumer, 1);
    await new Promise(setImmediate);
    const from = performance.now();
    await producer.publish([outgoing(`m${round}`)]);
    await settle(consumer, await taking, { kind: "ack" });
    times.push(performance.now() - from);
  }
  expect(times.toSorted((a, b) => a - b)[7]).toBeLessThan(100);
});

test("without a doorbell it finds what came at its next look", async () => {
  const clock = new FakeClock();
  const consumer = await open({}, clock);
  let taken: readonly Delivery[] | undefined;
  const taking = take(consumer, 1).then((batch) => (taken = batch));
  await clock.advance(0);
  const watcher = watch(folder);
  const removed = once(watcher, "change");
  await rm(join(folder, "x.db-bell"));
  await removed;
  watcher.close();
  const producer = await openElsewhere(); // makes another doorbell, which nobody hears
  await producer.publish([outgoing("a")]);
  await clock.advance(499);
  expect(taken).toBeUndefined();
  await clock.advance(1);
  expect((await taking).map(idOf)).toEqual(["a"]);
});

test("a publish that finds the file held to the end of its patience is refused, message by message", async () => {
  const broker = await open();
  const other = await openDatabase();
  other.exec("BEGIN IMMEDIATE");
  const error: unknown = await broker.publish([outgoing("a"), outgoing("b")]).catch((reason: unknown) => reason);
  other.exec("ROLLBACK");
  other.close();
  expect(error).toBeInstanceOf(PublishError);
  expect(error).toMatchObject({ fates: ["refused", "refused"], transient: true });
  expect((error as Error).message).toMatch(/x\.db is held by another process/);
  expect(await broker.depth(["q"])).toMatchObject([{ ready: 0 }]);
});

test("a settlement waits as long as the file is held", async () => {
  const broker = await open({ timeoutMs: 20 });
  await broker.publish([outgoing("a")]);
  const taken = await take(broker, 1);
  const other = await openDatabase();
  other.exec("BEGIN IMMEDIATE");
  const settling = settle(broker, taken, { kind: "ack" });
  const aborted = broker.settle([{ delivery: taken[0] as Delivery, end: { kind: "ack" } }], { signal: AbortSignal.timeout(100) });
  await expect(aborted).rejects.toMatchObject({ name: "TimeoutError" });
  other.exec("ROLLBACK");
  other.close();
  expect(await settling).toEqual(["settled"]);
});

test("a full disk refuses what is new, says so, and loses nothing", async () => {
  await (await open())[Symbol.asyncDispose](); // the schema is there
  const database = await openDatabase();
  const dataVersion = (): number => (database.prepare("PRAGMA data_version").get() as { data_version: number }).data_version;
  const path = join(folder, "x.db");
  const bell = new Bell({ path: `${path}-bell`, clock: systemClock, dataVersion });
  const file = new SqliteFile({ path, database, bell, clock: systemClock, random: systemRandom });
  const broker = new SqliteBroker(specOf(), { file, [Symbol.asyncDispose]: async () => file.close() }, deps);
  opened.push(broker);
  const { page_count: pages } = database.prepare("PRAGMA page_count").get() as { page_count: number };
  database.exec(`PRAGMA max_page_count = ${pages + 20}`);

  const held: string[] = [];
  const fill = async (): Promise<never> => {
    for (let at = 0; ; at++) {
      const pair = [`a${at}`, `b${at}`];
      await broker.publish(pair.map((id) => outgoing(id, "q", { pad: "x".repeat(2000) })));
      held.push(...pair);
    }
  };
  const refused: unknown = await fill().catch((error: unknown) => error);
  expect(refused).toMatchObject({ fates: ["refused", "refused"], transient: true });
  expect((refused as Error).message).toMatch(/the disk is full/);
  expect(held.length).toBeGreaterThan(4);
  expect(await broker.depth(["q"])).toMatchObject([{ ready: held.length }]);

  // It drains, and then there is room again.
  const taken = await take(broker, held.length);
  expect(taken.map(idOf)).toEqual(held);
  expect(await settle(broker, taken, { kind: "ack" })).toEqual(held.map(() => "settled"));
  await broker.publish([outgoing("later", "q", { pad: "x".repeat(2000) })]);
});

test("a worker that lost its lease is lent nothing until it has renewed it, and so knows", async () => {
  const clock = new FakeClock();
  const broker = await open({}, clock);
  await broker.leases.renew("w", 1000);
  await clock.advance(1001);
  expect(await broker.leases.sweep({ maxDeliveries: 5, leaseMs: 1000, visibilityTimeoutMs: 1 })).toMatchObject({ workers: ["w"] });
  await broker.publish([outgoing("a")]);
  let taken: readonly Delivery[] | undefined;
  const taking = take(broker, 1).then((batch) => (taken = batch));
  await clock.advance(10_000);
  expect(taken).toBeUndefined();
  expect(await broker.leases.renew("w", 1000)).toMatchObject({ held: false });
  expect((await taking).map(idOf)).toEqual(["a"]);
});

test("after a pause of its own a sweeper gives the others half a lease to say that they live", async () => {
  const clock = new FakeClock();
  const broker = await open({}, clock);
  const sweep = () => broker.leases.sweep({ maxDeliveries: 5, leaseMs: 1000, visibilityTimeoutMs: 1 });
  await broker.leases.renew("sleeper", 1000);
  await broker.leases.renew("dead", 1000);
  await sweep();
  await clock.advance(60_000); // the machine slept
  expect((await sweep()).workers).toEqual([]);
  await broker.leases.renew("sleeper", 1000);
  await clock.advance(499);
  expect((await sweep()).workers).toEqual([]);
  await clock.advance(1);
  expect((await sweep()).workers).toEqual(["dead"]);
});

test("a lease from before the machine's last start has ended", async () => {
  const clock = new FakeClock();
  const broker = await open({}, clock);
  const database = await openDatabase();
  await broker.leases.renew("old", 1000);
  database.exec("UPDATE workers SET ends = 9e9"); // by a monotonic clock that has begun anew since
  database.close();
  expect((await broker.leases.sweep({ maxDeliveries: 5, leaseMs: 1000, visibilityTimeoutMs: 1 })).workers).toEqual(["old"]);
});

test("of the dead letters of a queue only the newest are kept, and nothing stays behind of the others", async () => {
  const broker = await open({ deadLetterMax: 2 });
  await broker.publish(["a", "b", "c"].map((id) => outgoing(id)));
  for (const delivery of await take(broker, 3)) {
    const record = {
      id: String(idOf(delivery)),
      task: undefined,
      reason: "rejected",
      error: "no",
      worker: "w",
      at: 1,
      losses: 0,
      retries: 0,
    } as const;
    await settle(broker, [delivery], { kind: "deadLetter", record });
  }
  expect((await broker.deadLetters.page("q", { limit: 9 })).entries.map(({ id }) => id)).toEqual(["c", "b"]);
  const database = await openDatabase();
  expect(database.prepare("SELECT count(*) AS count FROM messages").get()).toEqual({ count: 2 });
  database.close();
});

test("more than one slice of parked messages comes back in due order", async () => {
  const clock = new FakeClock();
  const broker = await open({}, clock);
  const ids = Array.from({ length: 1200 }, (_, at) => `m${at}`);
  await broker.publish(ids.map((id) => outgoing(id)));
  await broker.leases.renew("w", 1e6);
  const taken: Delivery[] = [];
  while (taken.length < ids.length) taken.push(...(await take(broker, 500)));
  const now = clock.now();
  await broker.settle(taken.map((delivery, at) => ({ delivery, end: { kind: "park", dueAt: now + ids.length - at } })));
  await clock.advance(2000);
  expect(await broker.delayed.unpark()).toEqual({ moved: ids.length, nextDueAt: undefined });
  const again: unknown[] = [];
  while (again.length < ids.length) again.push(...(await take(broker, 500)).map(idOf));
  expect(again).toEqual(ids.toReversed());
});

test("purge empties a long queue and leaves nothing behind", async () => {
  const broker = await open();
  await broker.publish(Array.from({ length: 2500 }, (_, at) => outgoing(`m${at}`)));
  expect(await broker.purge("q")).toBe(2500);
  const database = await openDatabase();
  expect(database.prepare("SELECT count(*) AS count FROM messages").get()).toEqual({ count: 0 });
  database.close();
});

test("what is closed says so, and its consumers end", async () => {
  const broker = await open();
  const taking = take(broker, 1);
  await broker[Symbol.asyncDispose]();
  expect(await taking).toEqual([]);
  await expect(broker.publish([outgoing("a")])).rejects.toThrow(/was closed/);
});
