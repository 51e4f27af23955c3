/** What Python workers took and never acknowledged comes back by kombu's rule, through kombu's keys, under kombu's lock. */
import { expect, test } from "vitest";

import { encodeEnvelope } from "../../../src/protocol/envelope.ts";
import { makeMessage, take } from "../../support/broker-hands.ts";
import { openBroker } from "../../support/redis-brokers.ts";
import { serverOfFile } from "../../support/server-of-file.ts";

const SWEEPING = { maxDeliveries: 5, leaseMs: 10_000, visibilityTimeoutMs: 60_000 };
const redis = serverOfFile();

/** As kombu stores a delivery that was not acknowledged, `ageS` seconds ago. */
async function abandon(
  id: string,
  ageS: number,
  more: { priority?: number; exchange?: string; routingKey?: string } = {},
): Promise<string> {
  const tag = `tag-${id}`;
  const exchange = more.exchange ?? "";
  const routingKey = more.routingKey ?? "q";
  const message = makeMessage({
    id,
    priority: more.priority ?? 0,
    headers: { long: 12345678901234567890n, empty: [], none: {}, nothing: null },
  });
  const envelope = encodeEnvelope(message, { exchange, routingKey }, tag);
  await redis.hand.hset("unacked", tag, `[${envelope}, ${JSON.stringify(exchange)}, ${JSON.stringify(routingKey)}]`);
  await redis.hand.zadd("unacked_index", (Date.now() / 1000 - ageS).toFixed(6), tag);
  return envelope;
}

test("what is older than the visibility timeout returns to the front, marked; the rest stays", async () => {
  await using broker = await openBroker(redis.server.url);
  const envelope = await abandon("old", 61);
  await abandon("young", 30);
  await redis.hand.lpush("q", encodeEnvelope(makeMessage({ id: "next" }), { exchange: "", routingKey: "q" }, "tag-next"));
  expect(await broker.leases?.sweep(SWEEPING)).toEqual({ returned: 1, deadLettered: 0, workers: [] });
  expect(await redis.hand.hkeys("unacked")).toEqual(["tag-young"]);
  expect(await redis.hand.zrangebyscore("unacked_index", "-inf", "+inf")).toEqual(["tag-young"]);
  expect(await redis.hand.exists("unacked_mutex")).toBe(0);
  const [returned] = (await redis.hand.lrange("q", -1, -1)) as [string];
  // Nothing but the two marks has changed, not even a digit.
  expect(returned.replace(/"redelivered": true(?:, )?/g, "").replace(/, }/g, "}")).toBe(
    envelope.replace(/"redelivered": true(?:, )?/g, ""),
  );
  const [delivery] = await take(broker, ["q"], 1);
  expect(delivery?.open().info.redelivered).toBe(true);
  expect(delivery?.open().message.headers).toMatchObject({
    id: "old",
    redelivered: true,
    long: 12345678901234567890n,
    empty: [],
    none: {},
    nothing: null,
  });
  expect(delivery?.losses).toBe(0);
});

test("it goes to the list of its priority, and to all queues its exchange is bound to", async () => {
  await using broker = await openBroker(redis.server.url);
  await broker.bind([
    { name: "a", exchange: "ex", exchangeType: "direct", routingKey: "k" },
    { name: "b", exchange: "ex", exchangeType: "direct", routingKey: "k" },
  ]);
  await abandon("urgent", 100, { priority: 9 });
  await abandon("both", 100, { exchange: "ex", routingKey: "k" });
  expect((await broker.leases?.sweep(SWEEPING))?.returned).toBe(2);
  expect(await redis.hand.llen("q\u0006\u00169")).toBe(1);
  expect([await redis.hand.llen("a"), await redis.hand.llen("b")]).toEqual([1, 1]);
});

test("who holds kombu's lock sweeps alone", async () => {
  await using broker = await openBroker(redis.server.url);
  await abandon("old", 100);
  await redis.hand.set("unacked_mutex", "a Python worker", "PX", 300_000);
  expect((await broker.leases?.sweep(SWEEPING))?.returned).toBe(0);
  expect(await redis.hand.get("unacked_mutex")).toBe("a Python worker");
  await redis.hand.del("unacked_mutex");
  expect((await broker.leases?.sweep(SWEEPING))?.returned).toBe(1);
});

test("two sweepers at once return each message once", async () => {
  await using one = await openBroker(redis.server.url);
  await using two = await openBroker(redis.server.url);
  await Promise.all(Array.from({ length: 40 }, async (_, i) => await abandon(`m${i}`, 100 + i)));
  const reports = await Promise.all([one, two, one, two].map(async (broker) => await broker.leases?.sweep(SWEEPING)));
  expect(reports.reduce((sum, report) => sum + (report?.returned ?? 0), 0)).toBe(40);
  expect(await redis.hand.llen("q")).toBe(40);
  expect(await redis.hand.exists("unacked", "unacked_index")).toBe(0);
});

test("an entry that cannot be read stays where it is, and hinders nothing", async () => {
  await using broker = await openBroker(redis.server.url);
  await redis.hand.hset("unacked", "broken", "not what kombu writes");
  await redis.hand.zadd("unacked_index", 1, "broken");
  await abandon("old", 100);
  expect((await broker.leases?.sweep(SWEEPING))?.returned).toBe(1);
  expect(await redis.hand.hget("unacked", "broken")).toBe("not what kombu writes");
});

test("an index entry without its message is forgotten, as kombu does", async () => {
  await using broker = await openBroker(redis.server.url);
  await redis.hand.zadd("unacked_index", 1, "gone");
  expect((await broker.leases?.sweep(SWEEPING))?.returned).toBe(0);
  expect(await redis.hand.exists("unacked_index")).toBe(0);
});
