/** Capsules of one worker on Redis: two consumers through one session, while their connections break; and pauses where lists are many. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";

import type { Delivery } from "../../../src/brokers/broker.ts";
import type { PausedQueues } from "../../../src/brokers/queue-pauses.ts";
import { idOf, settleAll, Slots, toQueue } from "../../support/broker-hands.ts";
import { eventually } from "../../support/eventually.ts";
import { openBroker } from "../../support/redis-brokers.ts";
import { RedisServer } from "../../support/redis-server.ts";

let server: RedisServer;
beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(async () => {
  await server.stop();
});

test("connections that break: each consumer has all messages of its own queues, none twice, and none of the other's", async () => {
  const count = 300;
  const hand = new Redis(server.url);
  await hand.flushall();
  await using broker = await openBroker(server.url);
  await broker.publish(
    ["a", "b", "c"].flatMap((queue) => Array.from({ length: count }, (_, at) => toQueue(queue, { id: `${queue}${at}` }))),
  );
  await broker.leases?.renew("w", 30_000);
  const stop = new AbortController();
  const groups = [["a"], ["b", "c"]].map((queues) => ({ queues, taken: [] as Delivery[] }));
  const answers = new Set<string>();
  const consuming = groups.map(async ({ queues, taken }) => {
    const credit = new Slots(4);
    for await (const batch of broker.consume(queues, { worker: "w", credit, signal: stop.signal })) {
      credit.take(batch.length);
      taken.push(...batch);
      void settleAll(broker, batch).then((told) => {
        for (const answer of told) answers.add(answer);
        credit.give(batch.length);
      });
    }
  });
  const ids = (): Set<string> => new Set(groups.flatMap(({ taken }) => taken.map(idOf)));
  for (let kills = 0; kills < 4; kills++) {
    const before = ids().size;
    await eventually("some more came", () => ids().size > before || ids().size === 3 * count);
    await hand.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
  }
  await eventually("all have come", () => ids().size === 3 * count);
  await eventually("all are settled", async () => (await hand.hlen("lovage:loans:w")) <= 1); // the epoch stays
  stop.abort();
  await Promise.all(consuming);
  expect(answers).toEqual(new Set(["settled"]));
  for (const { queues, taken } of groups) {
    expect(taken.every(({ queue }) => queues.includes(queue))).toBe(true);
    expect(new Set(taken.map(({ loan }) => loan)).size).toBe(taken.length);
    expect(new Set(taken.map(idOf)).size).toBe(taken.length);
  }
  for (const queue of ["a", "b", "c"]) expect(await hand.llen(queue)).toBe(0);
  hand.disconnect();
});

test("what a blocking read takes for a worker that knows of a pause goes back as it was, and is not read for again", async () => {
  const hand = new Redis(server.url);
  await hand.flushall();
  await using broker = await openBroker(server.url);
  await using producer = await openBroker(server.url);
  let isPaused = false;
  const paused: PausedQueues = {
    get isAny() {
      return isPaused;
    },
    has: (queue) => isPaused && queue === "held",
    onChange: () => () => undefined, // so that no read is ended: the message wins the race every time
  };
  const stop = new AbortController();
  const taken: Delivery[] = [];
  const consuming = (async () => {
    for await (const batch of broker.consume(["held", "free"], { worker: "w", credit: new Slots(10), signal: stop.signal, paused }))
      taken.push(...batch);
  })();
  await eventually("it waits for both", async () => (await hand.info("clients")).includes("blocked_clients:8"));
  isPaused = true;
  await producer.publish([toQueue("held", { id: "one" })]);
  const [text] = await hand.lrange("held", 0, -1);
  await eventually("its read has ended, and the message is back", async () => {
    const isBlocked = (await hand.info("clients")).includes("blocked_clients:8");
    return !isBlocked && (await hand.llen("held")) === 1;
  });
  expect(text === undefined || (await hand.lindex("held", 0)) === text).toBe(true);
  await producer.publish([toQueue("held", { id: "two" }), toQueue("free", { id: "three" })]);
  await eventually("the free one", () => taken.length === 1);
  expect(taken.map(idOf)).toEqual(["three"]);
  const left = (await hand.lrange("held", 0, -1)).map(
    (each) => (JSON.parse(each) as { headers: { id: string; redelivered?: boolean } }).headers,
  );
  expect(left.map(({ id }) => id)).toEqual(["two", "one"]); // the last in the list is the first to be taken
  expect(await hand.keys("lovage:inbox:*")).toEqual([]);
  await settleAll(broker, taken);
  stop.abort();
  await consuming;
  expect(await hand.llen("held")).toBe(2);
  hand.disconnect();
});

test("more lists than blocking reads: a paused one wakes nobody, and gives again at once", { timeout: 60_000 }, async () => {
  const hand = new Redis(server.url);
  await hand.flushall();
  await using broker = await openBroker(server.url);
  await using producer = await openBroker(server.url);
  const queues = ["q1", "q2", "q3", "q4", "q5"]; // 20 lists: eight are waited for, the others watched
  const held = new Set(["q1", "q5"]);
  const listeners = new Set<() => void>();
  const paused: PausedQueues = {
    get isAny() {
      return held.size > 0;
    },
    has: (queue) => held.has(queue),
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const stop = new AbortController();
  const credit = new Slots(100);
  const taken: Delivery[] = [];
  const consuming = (async () => {
    for await (const batch of broker.consume(queues, { worker: "w", credit, signal: stop.signal, paused })) {
      credit.take(batch.length);
      taken.push(...batch);
    }
  })();
  const ids = (): string[] => taken.map(idOf).toSorted();
  await producer.publish(queues.flatMap((queue) => [0, 9].map((priority) => toQueue(queue, { id: `${queue}-${priority}`, priority }))));
  await eventually("the open ones", () => taken.length === 6);
  expect(ids()).toEqual(["q2-0", "q2-9", "q3-0", "q3-9", "q4-0", "q4-9"]);
  await eventually("it watches", async () => (await hand.keys("lovage:watchers:*")).length === 1);
  const scripts = async (): Promise<number> => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await hand.info("commandstats"))?.[1]);
  const before = await scripts();
  for (let i = 0; i < 50; i++) await hand.lpush("q5", `no message ${i}`);
  await producer.publish([toQueue("q4", { id: "after", priority: 9 })]); // seen, so what came before was as well
  await eventually("an open one beyond the reads", () => taken.length === 7);
  expect((await scripts()) - before).toBeLessThan(25); // it does not look again and again because of q5
  for (let i = 0; i < 50; i++) await hand.lpop("q5");
  held.clear();
  for (const listener of listeners) listener();
  await eventually("the others", () => taken.length === 11);
  expect(ids().filter((id) => id.startsWith("q1") || id.startsWith("q5"))).toEqual(["q1-0", "q1-9", "q5-0", "q5-9"]);
  await settleAll(broker, taken);
  stop.abort();
  await consuming;
  hand.disconnect();
});
