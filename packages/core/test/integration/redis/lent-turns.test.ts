/** What waited for a limit is lent in its turn to the worker that asks: it passes no queue, is admitted by that, and is never lost. */
import { expect, test } from "vitest";

import type { Broker, Delivery } from "../../../src/brokers/broker.ts";
import type { Admission, Limits } from "../../../src/brokers/limits.ts";
import { loadScript } from "../../../src/stores/redis/scripts.ts";
import { idOf, settleAll, Slots, take, toQueue } from "../../support/broker-hands.ts";
import { eventually } from "../../support/eventually.ts";
import { openBroker } from "../../support/redis-brokers.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";
import { serverOfFile } from "../../support/server-of-file.ts";

const INTERVAL_MS = 600;
const TURN = { queues: ["q"], want: 5 };
const NEVER = { kind: "waits" } as const;

const redis = serverOfFile();

const limitsOf = ({ limits }: Broker): Limits => {
  if (!limits) throw new Error("this broker keeps no limits");
  return limits;
};
const asking = (delivery: Delivery) => ({ delivery, id: idOf(delivery), limits: ["r"] });
const waiting = async (): Promise<number> => await redis.hand.zcard("lovage:limits:line:q");
const onLoan = async (): Promise<number> => (await redis.hand.hkeys("lovage:loans:w")).filter((field) => field !== "@epoch").length;

/** One start has been taken, and `ids` wait for theirs. */
async function fillLine(broker: Broker, ids: readonly string[]): Promise<void> {
  const limits = limitsOf(broker);
  await limits.declare(new Map([["r", { intervalMs: INTERVAL_MS, burst: 1 }]]));
  await broker.publish(["first", ...ids].map((id) => toQueue("q", { id })));
  const deliveries = await take(broker, ["q"], 1 + ids.length, { worker: "w" });
  await limits.admit("w", deliveries.map(asking));
  await settleAll(broker, deliveries.slice(0, 1));
  expect(await waiting()).toBe(ids.length);
}

/** A worker with slots enough that notes what it is given. */
function consume(broker: Broker) {
  const stop = new AbortController();
  const slots = new Slots(8);
  const taken: Delivery[] = [];
  const ended = (async () => {
    for await (const batch of broker.consume(["q"], { worker: "w", credit: slots, signal: stop.signal })) {
      slots.take(batch.length);
      taken.push(...batch);
    }
  })();
  return {
    taken,
    abort: () => stop.abort(),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await ended;
    },
  };
}

/** The worker consumes, and a message has been lent to it in its turn. */
async function lentOne(broker: Broker, { taken }: { readonly taken: readonly Delivery[] }): Promise<Delivery> {
  await eventually("a turn", async () => (await limitsOf(broker).advance("w", TURN)).moved === 1);
  return await eventually("its delivery", () => taken.at(-1));
}

const admit = async (broker: Broker, delivery: Delivery): Promise<Admission> =>
  (await limitsOf(broker).admit("w", [asking(delivery)])).answers[0] ?? NEVER;

const nextStart = async (broker: Broker): Promise<number> =>
  (await limitsOf(broker).states(10)).find(({ id }) => id === "r")?.nextStartInMs ?? Number.NaN;

const isEnvelope = (chunk: Buffer): boolean => chunk.includes("content-encoding");

test("its turn makes a loan of it, and it is admitted without a question", async () => {
  await using proxy = await TcpProxy.start(redis.server.port);
  await using broker = await openBroker(proxy.url);
  await fillLine(broker, ["a", "b"]);
  await using worker = consume(broker);
  await eventually("it consumes", async () => /blocked_clients:[1-9]/.test(await redis.hand.info("clients")));
  const delivery = await lentOne(broker, worker);
  expect(idOf(delivery)).toBe("a");
  expect([await redis.hand.llen("q"), await onLoan(), await waiting()]).toEqual([0, 1, 1]);
  expect(await redis.hand.exists("lovage:limits:kept")).toBe(0);
  proxy.isHolding = true; // nobody could answer
  expect(await admit(broker, delivery)).toMatchObject({ kind: "admitted", isHeld: false });
  proxy.release();
  expect(await settleAll(broker, [delivery])).toEqual(["settled"]);
  expect(await onLoan()).toBe(0);
});

test("one that comes late asks, and the next start is counted from then", async () => {
  await using broker = await openBroker(redis.server.url);
  await fillLine(broker, ["a", "b"]);
  await using worker = consume(broker);
  await eventually("it consumes", async () => /blocked_clients:[1-9]/.test(await redis.hand.info("clients")));
  const delivery = await lentOne(broker, worker);
  await eventually("most of the time to the next start is over", async () => (await nextStart(broker)) < INTERVAL_MS / 3);
  expect(await admit(broker, delivery)).toEqual({ kind: "admitted", startsInMs: 0, isHeld: false });
  expect(await nextStart(broker)).toBeGreaterThan(INTERVAL_MS / 3);
});

test("one that will not start gives its start to the next", async () => {
  await using broker = await openBroker(redis.server.url);
  await fillLine(broker, ["a", "b"]);
  await using worker = consume(broker);
  await eventually("it consumes", async () => /blocked_clients:[1-9]/.test(await redis.hand.info("clients")));
  const delivery = await lentOne(broker, worker);
  expect(await nextStart(broker)).toBeGreaterThan(200); // farther than a turn looks ahead
  expect((await limitsOf(broker).giveUp("w", [{ id: "a", limits: ["r"], delivery }], { ...TURN, want: 1 })).moved).toBe(1);
  expect(await waiting()).toBe(0);
});

test("it returns to its queue when the worker stops while it is on its way", async () => {
  await using broker = await openBroker(redis.server.url);
  await fillLine(broker, ["a"]);
  await using worker = consume(broker);
  await eventually("it consumes", async () => /blocked_clients:[1-9]/.test(await redis.hand.info("clients")));
  await eventually("its turn is near", async () => (await nextStart(broker)) < 150);
  const turning = limitsOf(broker).advance("w", TURN);
  worker.abort();
  expect((await turning).moved).toBe(1);
  await eventually("it is in its queue", async () => (await redis.hand.llen("q")) === 1);
  expect([await onLoan(), await waiting(), worker.taken.length]).toEqual([0, 0, 0]);
});

test("without a consumer of its queues it goes by the queue", async () => {
  await using broker = await openBroker(redis.server.url);
  await fillLine(broker, ["a"]);
  await eventually("a turn", async () => (await limitsOf(broker).advance("w", TURN)).moved === 1);
  expect([await redis.hand.llen("q"), await onLoan()]).toEqual([1, 0]);
});

test("an answer that is lost strands nothing: what it lent is found, and runs once", async () => {
  await using proxy = await TcpProxy.start(redis.server.port);
  await using broker = await openBroker(proxy.url, { leaseMs: 20_000 });
  await fillLine(broker, ["a"]);
  await using worker = consume(broker);
  await eventually("it consumes", async () => /blocked_clients:[1-9]/.test(await redis.hand.info("clients")));
  const { sha } = loadScript("limit-turn").modern;
  let isAsked = false;
  let isBroken = false;
  proxy.judge = (direction, _, chunk) => {
    if (direction === "request") isAsked ||= chunk.includes(sha);
    if (direction === "request" || !isAsked || isBroken || !isEnvelope(chunk)) return "pass";
    isBroken = true;
    return "cut";
  };
  await eventually("the answer is lost", async () => {
    await limitsOf(broker)
      .advance("w", TURN)
      .catch(() => undefined);
    return isBroken;
  });
  const delivery = await eventually("it is found", () => worker.taken[0]);
  await eventually("it starts, at once or after another turn", async () => {
    const last = worker.taken.at(-1) ?? delivery;
    if ((await admit(broker, last)).kind === "admitted") return true;
    await lentOne(broker, worker);
    return false;
  });
  expect(await settleAll(broker, worker.taken.slice(-1))).toEqual(["settled"]);
  expect([await redis.hand.llen("q"), await onLoan(), await waiting()]).toEqual([0, 0, 0]);
});

test("a question whose answer is lost takes a place once", async () => {
  await using proxy = await TcpProxy.start(redis.server.port);
  await using broker = await openBroker(proxy.url, { leaseMs: 20_000 });
  const limits = limitsOf(broker);
  await limits.declare(new Map([["r", { burst: 1, concurrency: 1 }]]));
  await broker.publish([toQueue("q", { id: "a" })]);
  const deliveries = await take(broker, ["q"], 1, { worker: "w" });
  const { sha } = loadScript("limit-admit").modern;
  let isAsked = false;
  let isBroken = false;
  proxy.judge = (direction, _, chunk) => {
    if (direction === "request") isAsked ||= chunk.includes(sha);
    if (direction === "request" || !isAsked || isBroken) return "pass";
    isBroken = true;
    return "cut";
  };
  const told = await limits.admit("w", deliveries.map(asking));
  expect(isBroken).toBe(true);
  expect(told.answers).toEqual([{ kind: "admitted", startsInMs: 0, isHeld: true }]);
  expect(await redis.hand.hgetall("lovage:limits:running")).toEqual({ r: "1" });
  await limits.release("w", deliveries, TURN);
  expect(await redis.hand.exists("lovage:limits:running")).toBe(0);
});
