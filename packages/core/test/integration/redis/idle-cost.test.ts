/** What waiting costs Redis: counted by Redis itself. `LOVAGE_SOAK=1`, on a machine with nothing else to do, holds it to its time as well. */
import { Redis } from "ioredis";
import { expect, test } from "vitest";

import type { Broker } from "../../../src/brokers/broker.ts";
import { Slots, toQueue } from "../../support/broker-hands.ts";
import { eventually } from "../../support/eventually.ts";
import { openBroker } from "../../support/redis-brokers.ts";
import { RedisServer } from "../../support/redis-server.ts";

const isSoak = process.env.LOVAGE_SOAK === "1";
/** A reading of a clock: with other tests beside it, a busy core counts too. A crowd woken by each message would be far above both. */
const MICROS_A_MESSAGE = isSoak ? 300 : 1500;

interface Cost {
  readonly reserves: number;
  /** Redis's own time for commands. */
  readonly micros: number;
}

async function costSoFar(hand: Redis): Promise<Cost> {
  const stats = await hand.info("commandstats");
  const rows = [...stats.matchAll(/^cmdstat_([^:]+):calls=(\d+),usec=(\d+)/gm)].map(([, name, calls, micros]) => ({
    name: name as string,
    calls: Number(calls),
    micros: Number(micros),
  }));
  const of = (name: string): { calls: number; micros: number } => rows.find((row) => row.name === name) ?? { calls: 0, micros: 0 };
  return {
    reserves: of("evalsha").calls,
    micros: of("evalsha").micros + of("blmove").micros + of("lpush").micros,
  };
}

/** As a worker's guard does: renews every 2.5 s, sweeps every 5 s, looks for parked messages every 7.5 s. */
function guard(broker: Broker, worker: string, stop: AbortSignal): void {
  const every = (ms: number, act: () => Promise<unknown> | undefined): void => {
    const timer = setInterval(() => void act()?.catch(() => undefined), ms);
    stop.addEventListener("abort", () => clearInterval(timer), { once: true });
  };
  void broker.leases?.renew(worker, 10_000);
  every(2500, () => broker.leases?.renew(worker, 10_000));
  every(5000, () => broker.leases?.sweep({ maxDeliveries: 5, leaseMs: 10_000, visibilityTimeoutMs: 3_600_000 }));
  every(7500, () => broker.delayed?.unpark());
}

test("with no messages, a worker sends at most one command a second", async () => {
  await using server = await RedisServer.start();
  const hand = new Redis(server.url);
  const workers = 5;
  const seconds = 16;
  const stop = new AbortController();
  const brokers = await Promise.all(
    Array.from({ length: workers }, async () => [await openBroker(server.url), await openBroker(server.url)] as const),
  );
  const consuming = brokers.map(async ([broker, guarding], i) => {
    guard(guarding, `w${i}`, stop.signal);
    for await (const _ of broker.consume(["q"], { worker: `w${i}`, credit: new Slots(10), signal: stop.signal }));
  });
  await eventually("all wait", async () => (await hand.info("clients")).includes(`blocked_clients:${workers * 4}`));
  const monitor = await hand.monitor();
  let commands = 0;
  monitor.on("monitor", (_time: string, _args: readonly string[], source: string) => {
    if (source !== "lua") commands += 1; // what a script calls is the script's
  });
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000)); // measures a rate: time itself is what is waited for
  monitor.disconnect();
  const perWorkerSecond = commands / workers / seconds;
  expect(perWorkerSecond).toBeGreaterThan(0.3); // it is alive
  expect(perWorkerSecond).toBeLessThanOrEqual(1);
  stop.abort();
  await Promise.all(consuming);
  for (const pair of brokers) for (const broker of pair) await broker[Symbol.asyncDispose]();
  hand.disconnect();
});

test("200 idle workers and 100 messages a second: at most 6 reserves a message, and little time of Redis", async () => {
  await using server = await RedisServer.start();
  const hand = new Redis(server.url);
  const workers = 200;
  const messages = 300;
  const stop = new AbortController();
  await using broker = await openBroker(server.url);
  await using producer = await openBroker(server.url);
  let taken = 0;
  // One process stands for all: each worker has its own loans, lease and waiting reads.
  const workersEnd = Array.from({ length: workers }, async (_, i) => {
    for await (const batch of broker.consume(["q"], { worker: `w${i}`, credit: new Slots(1000), signal: stop.signal })) {
      taken += batch.length;
      await broker.settle(batch.map((delivery) => ({ delivery, end: { kind: "ack" } })));
    }
  });
  await using _workers = {
    async [Symbol.asyncDispose](): Promise<void> {
      stop.abort();
      await Promise.all(workersEnd);
      hand.disconnect();
    },
  };
  await eventually("all wait", async () => (await hand.info("clients")).includes(`blocked_clients:${workers * 4}`), 30_000);
  const before = await costSoFar(hand);
  const startedAt = performance.now();
  for (let i = 0; i < messages; i += 1) {
    await producer.publish([toQueue("q", { id: `m${i}` })]);
    const aheadMs = i * 10 - (performance.now() - startedAt);
    if (aheadMs > 0) await new Promise((resolve) => setTimeout(resolve, aheadMs)); // 100 a second
  }
  await eventually("all taken", () => taken === messages);
  const after = await costSoFar(hand);
  // Scripts a message: publish, settle, and reserves; heartbeats of 200 workers among them.
  expect((after.reserves - before.reserves) / messages).toBeLessThanOrEqual(6);
  expect((after.micros - before.micros) / messages).toBeLessThanOrEqual(MICROS_A_MESSAGE);
});
