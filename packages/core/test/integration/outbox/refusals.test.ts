/** A broker that takes some rows and not others, and one that takes none. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { Outbox } from "../../../src/outbox/outbox.ts";
import { OutboxRelay } from "../../../src/outbox/relay.ts";
import type { ClaimOutcome, OutboxStore } from "../../../src/outbox/store.ts";
import { eventually } from "../../support/eventually.ts";
import { type OutboxHome, postgresOutbox, sqliteOutbox } from "../../support/outboxes.ts";
import { PostgresServer } from "../../support/postgres-server.ts";
import { RedisServer } from "../../support/redis-server.ts";

/** How often each row was refused, as the relay tells the store. */
function refusalsOf(store: OutboxStore): ReadonlyMap<number, number> {
  const counts = new Map<number, number>();
  const claim = store.claim.bind(store);
  store.claim = async (limits) => {
    const claimed = await claim(limits);
    if (claimed.kind === "nothing") return claimed;
    const settle = async (outcome: ClaimOutcome): Promise<void> => {
      for (const { seq } of outcome.refused) counts.set(seq, (counts.get(seq) ?? 0) + 1);
      await claimed.settle(outcome);
    };
    return { kind: "claim", rows: claimed.rows, settle, release: async () => await claimed.release() };
  };
  return counts;
}

let server: PostgresServer;
let redis: RedisServer;
let client: Redis;
beforeAll(async () => {
  [server, redis] = await Promise.all([PostgresServer.start(), RedisServer.start()]);
  client = new Redis(redis.url);
});
afterAll(async () => {
  client.disconnect();
  await Promise.all([server.stop(), redis.stop()]);
});
beforeEach(async () => void (await client.flushall()));

describe.each([
  ["postgres", () => postgresOutbox(server, { brokerUrl: redis.url })],
  ["sqlite", () => sqliteOutbox({ brokerUrl: redis.url })],
] as [string, () => Promise<OutboxHome>][])("%s", (_, open) => {
  async function enqueue(home: OutboxHome, rows: readonly (readonly [id: string, queue: string, key?: string])[]): Promise<void> {
    const transaction = await home.begin();
    for (const [taskId, queue, key] of rows)
      await new Outbox(home.app).enqueue(
        transaction.executor,
        { name: "t", args: [], options: { taskId, queue } },
        key === undefined ? {} : { key },
      );
    await transaction.commit();
  }

  test("a row that is refused while others are taken is set aside in the end, and its key goes on", async () => {
    await using home = await open();
    await client.set("broken", "no list");
    await enqueue(home, [["bad", "broken", "k"], ["later", "celery", "k"], ["other", "celery"]]); // prettier-ignore
    const stop = new AbortController();
    const relay = new OutboxRelay(home.app, home.store, { pollMs: 20 });
    const running = relay.run(stop.signal);
    await vi.waitFor(async () => expect(await home.sent()).toMatchObject([{ id: "other" }]), 20_000);
    let more = 0;
    const isSetAside = async (): Promise<boolean> => {
      await enqueue(home, [[`more-${more++}`, "more"]]); // or nothing says that it is not the broker
      return (await home.store.status()).setAside > 0;
    };
    await eventually("it is set aside", isSetAside, 40_000, 100);
    expect(await home.store.listAside(10)).toMatchObject([{ id: "bad", reason: expect.stringContaining("WRONGTYPE") as string }]);
    await vi.waitFor(async () => expect(await home.sent()).toMatchObject([{ id: "later" }]), 20_000);
    stop.abort();
    await running;
  });

  test("where nothing is taken no row is to blame, and one such row holds up no others", async () => {
    await using home = await open();
    await client.set("broken", "no list");
    const bad = Array.from({ length: 4 }, (__, n) => [`bad-${n}`, "broken", `key-${n}`] as const);
    await enqueue(home, bad);
    const stop = new AbortController();
    const refusals = refusalsOf(home.store);
    const relay = new OutboxRelay(home.app, home.store, { pollMs: 20 });
    const running = relay.run(stop.signal);
    await eventually("three tries of each", () => refusals.size === bad.length && Math.min(...refusals.values()) >= 3, 30_000);
    await enqueue(home, [["good", "celery"]]);
    await vi.waitFor(async () => expect(await home.sent()).toMatchObject([{ id: "good" }]), 10_000);
    expect(await home.store.status()).toMatchObject({ waiting: 4, setAside: 0 });
    await client.del("broken");
    await vi.waitFor(async () => expect(await home.store.status()).toMatchObject({ waiting: 0, setAside: 0 }), 20_000);
    stop.abort();
    await running;
  });
});
