/** An idle worker begins with what a blocking read brings before its loan is confirmed: as safe as a loan that was waited for. */
import { expect, test } from "vitest";

import type { Broker, Delivery } from "../../../src/brokers/broker.ts";
import { idOf, Slots, toQueue } from "../../support/broker-hands.ts";
import { eventually } from "../../support/eventually.ts";
import { openBroker } from "../../support/redis-brokers.ts";
import { type Direction, type Passage, TcpProxy } from "../../support/tcp-proxy.ts";
import { serverOfFile } from "../../support/server-of-file.ts";

const redis = serverOfFile();

/** A worker that settles all it is given, and waits for more. */
function work(broker: Broker, seen: string[], answers: string[], queues: readonly string[] = ["q"]) {
  const stop = new AbortController();
  const slots = new Slots(8);
  const ended = (async () => {
    const settling: Promise<void>[] = [];
    for await (const batch of broker.consume(queues, { worker: "one", credit: slots, signal: stop.signal })) {
      slots.take(batch.length);
      seen.push(...batch.map(idOf));
      settling.push(settle(batch));
    }
    await Promise.all(settling);
  })();
  async function settle(batch: readonly Delivery[]): Promise<void> {
    answers.push(...(await broker.settle(batch.map((delivery) => ({ delivery, end: { kind: "ack" } as const })))));
    slots.give(batch.length);
  }
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await ended;
    },
  };
}

const isWaiting = async (): Promise<boolean> => /blocked_clients:[1-9]/.test(await redis.hand.info("clients"));

for (const passage of ["cut", "cutHalfway", "cutAfter"] as const) {
  for (const what of ["the reserve", "its answer"] as const) {
    test(`runs once when the link breaks with ${what} (${passage})`, async () => {
      await using proxy = await TcpProxy.start(redis.server.port);
      await using broker = await openBroker(proxy.url, { leaseMs: 20_000 });
      await using producer = await openBroker(redis.server.url);
      const seen: string[] = [];
      const answers: string[] = [];
      await using _worker = work(broker, seen, answers);
      await eventually("the worker waits", isWaiting);
      let broken = false;
      let asked = false;
      proxy.judge = (direction: Direction, _, chunk): Passage => {
        if (broken) return "pass";
        const isReserve = direction === "request" && chunk.includes("evalsha");
        asked ||= isReserve;
        if (what === "the reserve" ? !isReserve : direction === "request" || !asked) return "pass";
        broken = true;
        return passage;
      };
      await producer.publish([toQueue("q", { id: "a" })]);
      await eventually("it was settled", () => answers.length > 0);
      await producer.publish([toQueue("q", { id: "b" })]);
      await eventually("so was the next", () => answers.length > 1);
      expect(broken).toBe(true);
      expect(seen).toEqual(["a", "b"]);
      expect(answers).toEqual(["settled", "settled"]);
      expect((await redis.hand.hkeys("lovage:loans:one")).filter((field) => field !== "@epoch")).toEqual([]);
    });
  }
}

test("runs once when Redis refuses the reserve, and takes what settles it", async () => {
  await using broker = await openBroker(redis.server.url, { leaseMs: 20_000 });
  await using producer = await openBroker(redis.server.url);
  const seen: string[] = [];
  const answers: string[] = [];
  await using worker = work(broker, seen, answers, ["q", "other"]);
  await eventually("the worker waits", isWaiting);
  await redis.hand.set("other", "no list"); // whatever reads all lists raises from now on
  await producer.publish([toQueue("q", { id: "a" })]);
  await eventually("it was settled", () => answers.length > 0);
  expect(await redis.hand.llen("lovage:inbox:one:q")).toBe(0);
  await redis.hand.del("other");
  await producer.publish([toQueue("q", { id: "b" })]);
  await eventually("so was the next", () => answers.length > 1);
  expect(seen).toEqual(["a", "b"]);
  expect(answers).toEqual(["settled", "settled"]);
  await worker[Symbol.asyncDispose]();
  expect((await redis.hand.hkeys("lovage:loans:one")).filter((field) => field !== "@epoch")).toEqual([]);
  expect(await redis.hand.llen("q")).toBe(0); // what stays in an inbox goes back there
});

test("what the read tells too late is not begun: the lease may be over, and the message another's", async () => {
  await using proxy = await TcpProxy.start(redis.server.port);
  await using broker = await openBroker(proxy.url, { leaseMs: 400 });
  await using other = await openBroker(redis.server.url, { leaseMs: 400 });
  const seen: string[] = [];
  await using _worker = work(broker, seen, []);
  await eventually("the worker waits", isWaiting);
  await other.depth(["q"]); // is connected: a few seconds after nothing passes any more the worker gives its connections up, and waits nowhere
  proxy.isHolding = true;
  await other.publish([toQueue("q", { id: "a" })]);
  await eventually("it lies in the inbox", async () => (await redis.hand.llen("q")) === 0);
  await eventually("its lease has been swept", async () => {
    await other.leases?.sweep({ maxDeliveries: 5, leaseMs: 400, visibilityTimeoutMs: 3_600_000 });
    return (await redis.hand.llen("q")) === 1;
  });
  expect(await redis.hand.rpop("q")).toContain('"a"');
  proxy.release();
  await other.publish([toQueue("q", { id: "b" })]);
  await eventually("the worker works again", () => seen.length > 0);
  expect(seen).toEqual(["b"]);
});

test("many one after the other are begun and settled once, in order", async () => {
  await using broker = await openBroker(redis.server.url, { leaseMs: 20_000 });
  await using producer = await openBroker(redis.server.url);
  const seen: string[] = [];
  const answers: string[] = [];
  await using _worker = work(broker, seen, answers);
  const ids = Array.from({ length: 300 }, (_, i) => `m${i}`);
  for (const [i, id] of ids.entries()) {
    await producer.publish([toQueue("q", { id })]);
    if (i % 3 === 0) await eventually("it was settled", () => answers.length === i + 1);
  }
  await eventually("all were settled", () => answers.length === ids.length);
  expect(seen).toEqual(ids);
  expect(new Set(answers)).toEqual(new Set(["settled"]));
  expect(await redis.hand.llen("q")).toBe(0);
});
