/** More lists than a worker has blocking reads for: Redis tells of the others. */
import { Redis } from "ioredis";
import { expect, test } from "vitest";

import { settleAll, Slots, take, toQueue, idOf } from "../../support/broker-hands.ts";
import { eventually } from "../../support/eventually.ts";
import { openBroker } from "../../support/redis-brokers.ts";
import { RedisServer } from "../../support/redis-server.ts";

const queues = Array.from({ length: 12 }, (_, i) => `q${i}`);
/** Much less than a heartbeat. */
const SOON_MS = 2000;

const watchers = async (hand: Redis): Promise<number> => {
  const [key] = await hand.keys("lovage:watchers:*");
  return key === undefined ? 0 : await hand.zcard(key);
};

test("a message in any of 48 lists is taken soon, again and again", async () => {
  await using server = await RedisServer.start();
  const hand = new Redis(server.url);
  await using broker = await openBroker(server.url);
  await using producer = await openBroker(server.url);
  const stop = new AbortController();
  const taken: string[] = [];
  const consuming = (async () => {
    for await (const batch of broker.consume(queues, { worker: "one", credit: new Slots(1000), signal: stop.signal })) {
      taken.push(...batch.map(idOf));
      await settleAll(broker, batch);
    }
  })();
  await eventually("the worker watches", async () => (await watchers(hand)) === 1);
  for (const [i, queue] of [...queues, "q11", "q11"].entries()) {
    const priority = (i % 4) * 3;
    await producer.publish([toQueue(queue, { id: `m${i}`, priority })]);
    await eventually(`m${i}`, () => taken.includes(`m${i}`), SOON_MS);
  }
  expect(new Set(taken).size).toBe(taken.length);
  stop.abort();
  await consuming;
  expect(await watchers(hand)).toBe(0);
  hand.disconnect();
});

test("no more than a handful watch, a worker without free slots gives its place up, and another takes it", async () => {
  await using server = await RedisServer.start();
  const hand = new Redis(server.url);
  await using producer = await openBroker(server.url);
  const stop = new AbortController();
  const workers = await Promise.all(Array.from({ length: 7 }, async () => ({ broker: await openBroker(server.url), slots: new Slots(1) })));
  const busy = new Set<number>();
  const consuming = workers.map(async ({ broker, slots }, i) => {
    for await (const batch of broker.consume(queues, { worker: `w${i}`, credit: slots, signal: stop.signal })) {
      slots.take(batch.length);
      busy.add(i);
    }
  });
  await eventually("four watch", async () => (await watchers(hand)) === 4);
  await producer.publish([toQueue("q11", { id: "a", priority: 9 })]);
  await eventually("one took it", () => busy.size === 1, SOON_MS);
  await eventually("its place was given up", async () => {
    const [key] = await hand.keys("lovage:watchers:*");
    return key !== undefined && (await hand.zscore(key, `w${[...busy][0]}`)) === null;
  });
  expect(await watchers(hand)).toBeLessThanOrEqual(4);
  for (let i = 0; i < 6; i += 1) await producer.publish([toQueue("q11", { id: `b${i}`, priority: 9 })]);
  await eventually("all seven are busy", () => busy.size === 7, 20_000);
  stop.abort();
  await Promise.all(consuming);
  for (const { broker } of workers) await broker[Symbol.asyncDispose]();
  hand.disconnect();
});

test("it works again after the listening connection was killed", async () => {
  await using server = await RedisServer.start();
  const hand = new Redis(server.url);
  await using broker = await openBroker(server.url);
  await using producer = await openBroker(server.url);
  const taking = take(broker, queues, 1);
  await eventually("the worker watches", async () => (await watchers(hand)) === 1 && String(await hand.client("LIST")).includes("flags=t"));
  await hand.call("CLIENT", ["KILL", "TYPE", "pubsub"]);
  await producer.publish([toQueue("q11", { id: "a", priority: 9 })]);
  expect((await taking).map(idOf)).toEqual(["a"]);
  hand.disconnect();
});
