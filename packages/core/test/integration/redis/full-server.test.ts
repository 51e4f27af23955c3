/** A Redis that is full must drain: publishing is refused, everything that ends loans goes on. */
import { Redis } from "ioredis";
import { expect, test } from "vitest";

import type { PublishError } from "../../../src/brokers/errors.ts";
import { settleAll, take, toQueue } from "../../support/broker-hands.ts";
import { openBackend, openBroker } from "../../support/redis-brokers.ts";
import { RedisServer } from "../../support/redis-server.ts";

test("a full Redis refuses what is published, whole, and still lends and settles with results", async () => {
  await using server = await RedisServer.start({ args: ["--maxmemory-policy", "noeviction"] });
  const hand = new Redis(server.url);
  await using broker = await openBroker(server.url);
  await using backend = await openBackend(server.url);
  const blob = "x".repeat(2000);
  await broker.publish(Array.from({ length: 50 }, (_, i) => toQueue("q", { id: `m${i}`, headers: { blob } })));
  await hand.config("SET", "maxmemory", "1mb");
  const error: unknown = await broker
    .publish([toQueue("q", { id: "late" }), toQueue("other", { id: "late" })])
    .catch((thrown: unknown) => thrown);
  expect((error as PublishError).fates).toEqual(["refused", "refused"]);
  expect((error as PublishError).transient).toBe(true);
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
  await expect(
    broker.settle([{ delivery: delivery!, end: { kind: "ack" }, publish: [toQueue("next", { id: "d" }), toQueue("broken", { id: "e" })] }]),
  ).rejects.toThrowError(/WRONGTYPE/);
  expect(await hand.llen("next")).toBe(0);
  expect(await settleAll(broker, [delivery!])).toEqual(["settled"]);
  hand.disconnect();
});
