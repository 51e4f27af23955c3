/** What a producer's process does when asked, for every system in Node alike; `python/producer.py` does the same. */
import { cpuMicros, nowMs, sleep } from "./clock.mjs";

const inFlight = 100;
const bulkSize = 1000;

const ways = {
  /** Each send is awaited before the next. */
  async awaited(producer, count) {
    for (let sent = 0; sent < count; sent++) await producer.send(1, 2);
  },
  /** 100 sends are under way at any time. */
  async concurrent(producer, count) {
    let left = count;
    const lane = async () => {
      while (left-- > 0) await producer.send(1, 2);
    };
    await Promise.all(Array.from({ length: inFlight }, lane));
  },
  /** The system's own call for many, 1,000 at a time. */
  async bulk(producer, count) {
    for (let left = count; left > 0; left -= bulkSize) await producer.sendMany(Math.min(left, bulkSize), 1, 2);
  },
};

/** Sends `count` no-op tasks. Resolves when the broker holds all, with when that was and what it cost this process. */
export async function enqueue(producer, { way, count }) {
  const from = { at: nowMs(), cpu: cpuMicros() };
  await ways[way](producer, count);
  return { startedAt: from.at, endedAt: nowMs(), cpuMicros: cpuMicros() - from.cpu };
}

/** Sends one task at a time to an idle system. From send to the start of the body, and to its result in hand, ms of each. */
export async function latencies(producer, { count, pauseMs }) {
  const toStart = [];
  const toResult = [];
  for (let index = 0; index < count; index++) {
    await sleep(pauseMs * (0.5 + Math.random()));
    const sentAt = nowMs();
    const startedAt = await producer.stamp(1, 2);
    toResult.push(nowMs() - sentAt);
    toStart.push(startedAt - sentAt);
  }
  return { toStart, toResult };
}

/** Sends a workflow of so many tasks. Ms until its result is there; throws when it is another than it must be. */
export async function workflow(producer, { kind, size }) {
  const sentAt = nowMs();
  const value = await producer.workflow[kind](size);
  const took = nowMs() - sentAt;
  const expected = kind === "chord" ? 3 * size : size + 2;
  if (value !== expected) throw new Error(`a ${kind} of ${size} came to ${value}, not ${expected}`);
  return took;
}

/** Sends single tasks at an even pace. */
export async function trickle(producer, { perSecond, forMs }) {
  const startedAt = nowMs();
  const count = (perSecond * forMs) / 1000;
  for (let index = 0; index < count; index++) {
    await sleep(startedAt + (index * 1000) / perSecond - nowMs());
    await producer.send(1, 2);
  }
  await sleep(startedAt + forMs - nowMs());
}
