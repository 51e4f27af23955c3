/**
 * Limits for all workers, with real processes: how exactly a rate is kept, that no key is above its own or left behind, what it
 * costs Redis, and what becomes of the place of a worker that is killed. `LOVAGE_SOAK=1`: minutes, and 10,000 keys.
 */
import { setTimeout as wait } from "node:timers/promises";
import { Redis } from "ioredis";
import { Lovage } from "lovage";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { RecordingWorkers } from "../support/recording-workers.ts";
import { RedisServer } from "../support/redis-server.ts";

const isSoak = process.env.LOVAGE_SOAK === "1";
const WORKERS = 4;
const RATE = 100;
const RUN_S = isSoak ? 130 : 6;
const WINDOW_S = isSoak ? 60 : 3;
const KEYS = isSoak ? 10_000 : 200;
const PER_KEY = isSoak ? 6 : 3;
/** Of a process, on a machine that others use too. */
const LATE_MS = 300;
const LEASE_MS = isSoak ? 10_000 : 2000;

interface Run {
  readonly index: number;
  readonly at: number;
}

/** When each began, in order of time. */
const begun = (workers: RecordingWorkers): Run[] =>
  workers
    .lines()
    .filter((line) => line.startsWith("began "))
    .map((line) => ({ index: Number(line.split(" ")[1]), at: Number(line.split(" ")[2]) }))
    .toSorted((a, b) => a.at - b.at);

function report(text: string): void {
  // oxlint-disable-next-line no-console -- a figure for whoever reads the run
  console.log(text);
}

async function redisCpuMs(redis: Redis): Promise<number> {
  const info = await redis.info("cpu");
  const of = (name: string): number => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)?.[1]);
  return (of("used_cpu_user_main_thread") + of("used_cpu_sys_main_thread")) * 1000;
}

test("a rate is kept by all workers together: no window is above it, and none is left unused", async () => {
  await using redis = await RedisServer.start();
  const settings = { queueLimits: { celery: { rate: `${RATE}/s` } } };
  await using app = new Lovage("producer", { brokerUrl: redis.url, env: false, configFile: false });
  await using workers = new RecordingWorkers({ broker: redis.url, concurrency: 10, settings });
  await Promise.all(Array.from({ length: WORKERS }, async () => await workers.start()));
  const task = app.remote<[index: number, ms: number], void>("test.timed");
  const hand = new Redis(redis.url);
  const before = await redisCpuMs(hand);
  await task.map(Array.from({ length: RATE * (RUN_S + 5) }, (_, i) => [i, 0] as const));
  await wait(RUN_S * 1000 + 500); // what is looked at is what happens in a time
  const cpuMs = (await redisCpuMs(hand)) - before;
  const [depth] = await (await app.broker()).depth(["celery"]);
  hand.disconnect();
  const runs = begun(workers);
  const counts: number[] = [];
  const first = runs[0]?.at ?? 0;
  for (let from = first + 500; from + WINDOW_S * 1000 <= first + RUN_S * 1000; from += 250)
    counts.push(runs.filter(({ at }) => at >= from && at < from + WINDOW_S * 1000).length);
  const wanted = RATE * WINDOW_S;
  const off = counts.map((count) => (100 * (count - wanted)) / wanted);
  report(
    `${counts.length} windows of ${WINDOW_S} s at ${RATE}/s over ${WORKERS} workers: ${Math.min(...off).toFixed(2)} % to +${Math.max(...off).toFixed(2)} %; ` +
      `${runs.length} ran, ${depth?.parked} wait, ${((1000 * cpuMs) / runs.length).toFixed(1)} us of Redis a task, with publishing and all that waits`,
  );
  expect(counts.length).toBeGreaterThan(3);
  // In a short window one late turn counts for more, and the machine is shared.
  expect(Math.max(...off)).toBeLessThan(isSoak ? 2 : 20);
  expect(Math.min(...off)).toBeGreaterThan(isSoak ? -2 : -25);
}, 300_000);

test("of many keys none is above its limit, and none is left behind", async () => {
  await using redis = await RedisServer.start();
  const settings = { queueLimits: { celery: { rate: 1, key: true } } };
  await using app = new Lovage("producer", { brokerUrl: redis.url, env: false, configFile: false, publishTimeout: 60 });
  const calls = Array.from({ length: KEYS * PER_KEY }, (_, i) => ({
    name: "test.timed",
    args: [i, 0],
    options: { limitKey: `customer${i % KEYS}` },
  }));
  for (let from = 0; from < calls.length; from += 2000) await app.publishMany(calls.slice(from, from + 2000));
  const hand = new Redis(redis.url);
  const before = await redisCpuMs(hand);
  await using workers = new RecordingWorkers({ broker: redis.url, concurrency: 200, settings });
  await Promise.all(Array.from({ length: WORKERS }, async () => await workers.start()));
  const since = performance.now();
  const count = KEYS * PER_KEY;
  await eventually("all of them", () => begun(workers).length >= count, isSoak ? 120_000 : 40_000, 200);
  const tookS = (performance.now() - since) / 1000;
  const cpuUs = ((await redisCpuMs(hand)) - before) * 1000;
  hand.disconnect();
  const byKey = new Map<number, number[]>();
  for (const { index, at } of begun(workers)) {
    const key = index % KEYS;
    byKey.set(key, [...(byKey.get(key) ?? []), at]);
  }
  report(`${KEYS} keys at 1/s, ${PER_KEY} tasks each: done after ${tookS.toFixed(1)} s, ${(cpuUs / count).toFixed(1)} us of Redis a task`);
  expect(byKey.size).toBe(KEYS);
  for (const times of byKey.values()) {
    expect(times).toHaveLength(PER_KEY);
    // A start that its process came late to may be close to the next: so many in a second, and one more, are none too many.
    for (const [i, at] of times.entries())
      for (const [j, later] of times.entries()) if (j > i + 1) expect(later - at).toBeGreaterThan((j - i - 1) * 1000 - LATE_MS);
  }
  if (isSoak) expect(cpuUs / count).toBeLessThan(40); // twice what it is when the machine is not shared
});

test("the place of a worker that is killed is free about when its lease is over, and its message runs again", async () => {
  await using redis = await RedisServer.start();
  const settings = { leaseTime: LEASE_MS / 1000, queueLimits: { celery: { concurrency: 1 } } };
  await using app = new Lovage("producer", { brokerUrl: redis.url, env: false, configFile: false });
  await using workers = new RecordingWorkers({ broker: redis.url, concurrency: 2, settings });
  const doomed = await workers.start();
  await app.remote<[index: number], number>("test.reason").delay(1); // runs until it is told to stop
  await doomed.said("running");
  const heir = await workers.start();
  const next = app.remote<[index: number, ms: number], void>("test.timed");
  await next.delay(2, 0);
  await eventually("it waits", async () => (await app.limits.list())[0]?.waiting === 1, 20_000);
  await wait(LEASE_MS * 1.2); // nothing happens meanwhile that one could wait for: the heir has been there for a while, as in a fleet
  expect(begun(workers)).toEqual([]);
  await doomed.end("SIGKILL");
  const killedAt = performance.now();
  await eventually("the place", () => begun(workers).length === 1, LEASE_MS * 5);
  const tookMs = performance.now() - killedAt;
  report(`its place was taken ${(tookMs / 1000).toFixed(2)} s after kill -9, with a lease of ${LEASE_MS / 1000} s`);
  await heir.said("running"); // the message that it held
  expect(tookMs).toBeLessThan(LEASE_MS * 1.5 + 2200);
  await heir.end("SIGKILL");
});
