/** Fair queues on a real server: broken links, forsaken queues, what others left behind, and who is woken. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import type { Broker, Delivery } from "../../../src/brokers/broker.ts";
import { FAIR_KEY_HEADER } from "../../../src/protocol/fair-key.ts";
import { loadScript } from "../../../src/stores/redis/scripts.ts";
import { idOf, Slots, take, toQueue } from "../../support/broker-hands.ts";
import { eventually } from "../../support/eventually.ts";
import { openBroker } from "../../support/redis-brokers.ts";
import { RedisServer } from "../../support/redis-server.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";

const FAIR = new Set(["q"]);
let server: RedisServer;
let hand: Redis;

beforeAll(async () => {
  server = await RedisServer.start();
  hand = new Redis(server.url);
});
beforeEach(async () => void (await hand.flushall()));
afterAll(async () => {
  hand.disconnect();
  await server.stop();
});

const publish = async (broker: Broker, key: string, ...ids: readonly string[]): Promise<void> =>
  await broker.publish(ids.map((id) => toQueue("q", { id, headers: { [FAIR_KEY_HEADER]: key } })));

/** Puts back at most so many, of all keys in the ring or of these; `fair-release.lua` alone. */
async function release(most: number, ...named: readonly string[]): Promise<unknown> {
  const keys = ["sorted", "keys", "ring", "bell", "settings"].map((what) => `lovage:fair-${what}:q`);
  return await hand.eval(loadScript("fair-release").modern.source, 6, ...keys, "q", most, "1", ...named);
}

/** Consumes and acknowledges until stopped; tells what it took. */
function worker(broker: Broker, name: string, slots: number, settles = true) {
  const stop = new AbortController();
  const credit = new Slots(slots);
  const taken: Delivery[] = [];
  const done = (async () => {
    for await (const batch of broker.consume(["q"], { worker: name, credit, signal: stop.signal, fair: FAIR })) {
      credit.take(batch.length);
      taken.push(...batch);
      if (!settles) continue;
      void broker
        .settle(
          batch.map((delivery) => ({ delivery, end: { kind: "ack" } })),
          { signal: stop.signal },
        )
        .then(
          () => credit.give(batch.length),
          () => undefined,
        );
    }
  })();
  return {
    taken,
    end: async () => {
      stop.abort();
      await done;
    },
  };
}

test("over a link that breaks again and again each message is taken once, and no limit keeps a place for what has ended", async () => {
  const { port } = new URL(server.url);
  await using proxy = await TcpProxy.start(Number(port));
  await using direct = await openBroker(server.url);
  await direct.fairness?.set("q", undefined, { limit: 3 });
  const total = 120;
  for (let key = 0; key < 10; key += 1) await publish(direct, `k${key}`, ...Array.from({ length: total / 10 }, (_, i) => `${key}-${i}`));
  await using broker = await openBroker(proxy.url, { leaseMs: 60_000 });
  let chunks = 0;
  proxy.judge = () => (++chunks % 31 === 0 ? "cutAfter" : chunks % 47 === 0 ? "cut" : "pass");
  const one = worker(broker, "one", 8);
  await eventually(
    "all to be taken",
    async () => {
      await direct.fairness?.tidy();
      return one.taken.length >= total || undefined;
    },
    60_000,
  );
  proxy.judge = () => "pass";
  await eventually("all to be settled", async () => (await hand.hlen("lovage:loans:one")) <= 1);
  await one.end();
  expect(new Set(one.taken.map(idOf)).size).toBe(total);
  expect(one.taken.length).toBe(total);
  await eventually("nothing to be counted any more", async () => {
    await direct.fairness?.tidy();
    return (await direct.fairness?.page("q", { limit: 100 }))?.keys.length === 0;
  });
  expect((await hand.keys("lovage:fair-*")).filter((key) => !/-(settings|check):/.test(key))).toEqual([]);
});

test("a queue that nobody takes fairly any more gets back what was sorted, but for what is paused", async () => {
  await using broker = await openBroker(server.url);
  await publish(broker, "a", "a1", "a2", "a3");
  await publish(broker, "b", "b1", "b2");
  await publish(broker, "p", "p1");
  await broker.fairness?.set("q", "p", { paused: { by: "ann", reason: "", at: 1 } });
  await broker.fairness?.set("q", "b", { limit: 1 });
  expect((await take(broker, ["q"], 2, { fair: FAIR })).map(idOf)).toEqual(["a1", "b1"]);
  expect(await broker.fairness?.tidy()).toBe(true);
  expect(await hand.llen("q")).toBe(0);
  await hand.zadd("lovage:fair", 1, "q"); // a minute and more has passed
  await hand.del("lovage:fair-check:q");
  expect(await broker.fairness?.tidy()).toBe(true);
  expect(await hand.llen("q")).toBe(3);
  expect(await hand.exists("lovage:fair-ring:q", "lovage:fair-bell:q")).toBe(0); // nobody has a turn, and nobody is woken
  expect((await broker.depth(["q"]))[0]?.ready).toBe(4);
  expect((await take(broker, ["q"], 3, { worker: "plain" })).map(idOf).toSorted()).toEqual(["a2", "a3", "b2"]);
  await broker.fairness?.set("q", "p", { paused: null });
  expect((await take(broker, ["q"], 1, { fair: FAIR })).map(idOf)).toEqual(["p1"]);
});

test("a loan that is still there is not counted as ended: whoever is in doubt may ask", async () => {
  await using broker = await openBroker(server.url);
  await publish(broker, "a", "a1", "a2");
  await publish(broker, "b", "b1");
  await broker.fairness?.set("q", "a", { limit: 1 });
  const [first] = (await take(broker, ["q"], 1, { fair: FAIR, worker: "w" })) as [Delivery];
  const ask = async (): Promise<unknown> => {
    const keys = ["keys", "ring", "running", "bell"].map((what) => `lovage:fair-${what}:q`);
    return await hand.eval(loadScript("fair-end").modern.source, 5, "lovage:loans:w", ...keys, first.loan);
  };
  expect(await ask()).toBe(0);
  expect(await hand.hget("lovage:fair-keys:q", "a")).toMatch(/^2 1 /); // waits for its place
  await hand.hdel("lovage:loans:w", first.loan);
  expect(await ask()).toBe(1);
  expect(await hand.hget("lovage:fair-keys:q", "a")).toMatch(/^1 0 /); // in the ring
  expect(await ask()).toBe(0);
  expect(await hand.lrange("lovage:fair-ring:q", 0, -1)).toEqual(["b", "a"]);
  expect(await hand.llen("lovage:fair-bell:q")).toBe(1); // one worker is woken, who wakes the next
});

test("a key that is in the ring by now keeps what is sorted: it is not released by its name", async () => {
  await using broker = await openBroker(server.url);
  await publish(broker, "a", "a1", "a2");
  await take(broker, ["q"], 1, { fair: FAIR });
  expect(await release(10, "a")).toBe(0);
  expect(await hand.llen("q")).toBe(0);
  expect((await take(broker, ["q"], 1, { fair: FAIR })).map(idOf)).toEqual(["a2"]);
});

test("no more is released at once than was asked for, and what somebody removed by hand is passed over", async () => {
  await using broker = await openBroker(server.url);
  await publish(broker, "a", "a1", "a2", "a3", "a4");
  await take(broker, ["q"], 1, { fair: FAIR });
  expect(await hand.hdel("lovage:fair-sorted:q", "10.1.a")).toBe(1);
  expect(await release(1)).toBe(1);
  expect(await hand.hkeys("lovage:fair-sorted:q")).toEqual(["10.3.a"]);
  expect(await release(10)).toBe(1);
  expect((await take(broker, ["q"], 2, { worker: "plain" })).map(idOf)).toEqual(["a3", "a4"]);
});

test("no more keys have settings than may have, and those that have may change theirs", async () => {
  const set = async (key: string, weight: number): Promise<unknown> => {
    const keys = ["settings", "keys", "ring", "bell"].map((what) => `lovage:fair-${what}:q`);
    return await hand.eval(loadScript("fair-set").modern.source, 4, ...keys, `=${key}`, weight, "", "", 1);
  };
  expect([await set("a", 2), await set("b", 2), await set("a", 3), await set("a", 0), await set("b", 2)]).toEqual([1, 0, 1, 1, 1]);
  expect(await hand.hgetall("lovage:fair-settings:q")).toEqual({ "=b": "2 0 0" });
});

test("a key of a wrong type raises before anything was taken", async () => {
  await using broker = await openBroker(server.url);
  await publish(broker, "a", "a1", "a2");
  await hand.set("lovage:fair-ring:q", "somebody else's");
  await expect(take(broker, ["q"], 1, { fair: FAIR, withinMs: 500 })).rejects.toThrow("took 0 deliveries");
  expect(await hand.llen("q")).toBe(2);
  await hand.del("lovage:fair-ring:q");
  expect((await take(broker, ["q"], 2, { fair: FAIR })).map(idOf)).toEqual(["a1", "a2"]);
});

test("what is no envelope is taken without a key, and its bytes stay", async () => {
  await using broker = await openBroker(server.url);
  const raw = Buffer.from([0xff, 0x00, ...Buffer.from('"fair_key": "x"')]);
  await hand.lpush("q", raw, "not an envelope");
  const taken = await take(broker, ["q"], 2, { fair: FAIR });
  const raws = taken.map(({ raw: each }) => Buffer.from(each).toString("latin1")).toSorted();
  expect(raws).toEqual(["not an envelope", raw.toString("latin1")]);
});

test("whoever sorts more than it can take wakes the next, until all idle workers are busy", async () => {
  await using one = await openBroker(server.url);
  await using two = await openBroker(server.url);
  await using producer = await openBroker(server.url);
  for (let round = 0; round < 10; round += 1) {
    const small = worker(one, `small${round}`, 1, false);
    const large = worker(two, `large${round}`, 10, false);
    await eventually("both to wait", async () => String(await hand.client("LIST")).match(/cmd=blmove/g)?.length === 10);
    const startedAt = performance.now();
    for (let i = 0; i < 12; i += 1) void publish(producer, `k${i % 3}`, `${round}-${i}`);
    await eventually("eleven to be taken", () => small.taken.length + large.taken.length === 11 || undefined);
    expect(performance.now() - startedAt).toBeLessThan(2500); // woken, not found by a look every three seconds
    await one.leases?.release(`small${round}`);
    await two.leases?.release(`large${round}`);
    await Promise.all([small.end(), large.end()]);
    await producer.fairness?.tidy();
    await producer.purge("q");
    await hand.flushall();
  }
});

test("ten thousand keys with a message each are taken once each, in the order in which they came", async () => {
  await using broker = await openBroker(server.url);
  const ids = Array.from({ length: 10_000 }, (_, i) => `m${i}`);
  for (let from = 0; from < ids.length; from += 1000)
    await broker.publish(ids.slice(from, from + 1000).map((id) => toQueue("q", { id, headers: { [FAIR_KEY_HEADER]: id } })));
  expect((await take(broker, ["q"], ids.length, { fair: FAIR, slots: 200, withinMs: 60_000 })).map(idOf)).toEqual(ids);
});
