/** A Redis that is full must drain: publishing is refused, everything that ends loans goes on. */
import { Redis } from "ioredis";
import { expect, test } from "vitest";

import { BrokerOutOfMemoryError, type PublishError } from "../../../src/brokers/errors.ts";
import { settleAll, take, toQueue } from "../../support/broker-hands.ts";
import { openBackend, openBroker } from "../../support/redis-brokers.ts";
import { RedisServer } from "../../support/redis-server.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";

/** A link through which a Redis 7 seems to be a 6.2, so that scripts are sent without the flags that 6.2 does not know. */
async function as62(port: number): Promise<TcpProxy> {
  const link = await TcpProxy.start(port);
  link.judge = (_direction, _index, chunk) => {
    const at = chunk.indexOf("redis_version:7");
    if (at !== -1) chunk.write("6.2", at + "redis_version:".length);
    return "pass";
  };
  return link;
}

test.each(["7", "6.2"])("a full Redis %s refuses what is published, whole, and still lends and settles with results", async (version) => {
  await using server = await RedisServer.start({ args: ["--maxmemory-policy", "noeviction"] });
  const hand = new Redis(server.url);
  await using link = version === "7" ? undefined : await as62(server.port);
  await using broker = await openBroker(link?.url ?? server.url);
  await using backend = await openBackend(link?.url ?? server.url);
  const blob = "x".repeat(2000);
  await broker.publish(Array.from({ length: 50 }, (_, i) => toQueue("q", { id: `m${i}`, headers: { blob } })));
  await hand.config("SET", "maxmemory", "1mb");
  const error: unknown = await broker
    .publish([toQueue("q", { id: "late" }), toQueue("other", { id: "late" })])
    .catch((thrown: unknown) => thrown);
  expect((error as PublishError).fates).toEqual(["refused", "refused"]);
  expect((error as PublishError).transient).toBe(true);
  expect((error as PublishError).cause).toBeInstanceOf(BrokerOutOfMemoryError);
  expect((error as PublishError).cause).toMatchObject({
    depths: [
      { queue: "q", ready: 50 },
      { queue: "other", ready: 0 },
    ],
  });
  expect(String(error)).toContain("q: 50 ready; other: 0 ready");
  expect(await hand.llen("q")).toBe(50);
  expect(await hand.llen("other")).toBe(0);

  await broker.leases?.renew("one", 60_000);
  const taken = await take(broker, ["q"], 50, { slots: 50 });
  const results = (id: string) => [{ taskId: id, state: "SUCCESS", document: '{"status": "SUCCESS"}', expiresMs: 60_000 }];
  const told = await broker.settle(
    taken.slice(0, 48).map((delivery, i) => ({
      delivery,
      end: { kind: "ack" },
      results: results(`t${i}`),
      publish: i === 0 ? [toQueue("next", { id: "follow-up" })] : [],
    })),
    { backend },
  );
  expect(told).toEqual(Array.from({ length: 48 }, () => "settled"));
  expect(await settleAll(broker, taken.slice(48), { kind: "park", dueAt: 1 })).toEqual(["settled", "settled"]);
  expect((await broker.delayed?.unpark())?.moved).toBe(2);
  expect(await broker.depth(["q", "next"])).toMatchObject([
    { ready: 2, parked: 0 },
    { ready: 1, parked: 0 },
  ]);
  await settleAll(broker, await take(broker, ["q"], 1), { kind: "putBack" });
  await broker.leases?.renew("one", 1);
  await using other = await openBroker(link?.url ?? server.url);
  await take(broker, ["q"], 2);
  expect(await other.leases?.release("one")).toBe(2);
  expect(await hand.llen("q")).toBe(2);
  hand.disconnect();
});

test("a key of a wrong type among the queues stops nothing half way", async () => {
  await using server = await RedisServer.start();
  const hand = new Redis(server.url);
  await using broker = await openBroker(server.url);
  await hand.set("broken", "no list");
  await broker.publish([toQueue("q", { id: "a" })]);
  const error: unknown = await broker
    .publish([toQueue("q", { id: "b" }), toQueue("broken", { id: "c" })])
    .catch((thrown: unknown) => thrown);
  expect((error as PublishError).fates).toEqual(["refused", "refused"]);
  expect(await hand.llen("q")).toBe(1);
  const [delivery] = await take(broker, ["q"], 1);
  await broker.publish(["f", "g"].map((id) => toQueue("q", { id })));
  const [before, after] = await take(broker, ["q"], 2);
  expect(
    await broker.settle([
      { delivery: before!, end: { kind: "ack" } },
      { delivery: delivery!, end: { kind: "ack" }, publish: [toQueue("next", { id: "d" }), toQueue("broken", { id: "e" })] },
      { delivery: after!, end: { kind: "ack" } },
    ]),
  ).toEqual(["settled", "refused", "settled"]);
  expect(await hand.llen("next")).toBe(0);
  expect(await settleAll(broker, [delivery!])).toEqual(["settled"]);
  hand.disconnect();
});
