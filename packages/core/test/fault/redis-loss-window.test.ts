/**
 * No loss window: a link is cut, or the process dies, at every point where the Redis driver waits for the other side. Afterwards
 * the messages are counted: none is lost, none is settled twice, and what nobody can know is reported as unknown.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import type { Broker, Delivery, PublishFate } from "../../src/brokers/broker.ts";
import { PublishError } from "../../src/brokers/errors.ts";
import { idOf, Slots, toQueue } from "../support/broker-hands.ts";
import { eventually } from "../support/eventually.ts";
import { openBackend, openBroker } from "../support/redis-brokers.ts";
import { RedisServer } from "../support/redis-server.ts";
import { type Direction, type Passage, TcpProxy } from "../support/tcp-proxy.ts";

const LEASE_MS = 400;
const SWEEPING = { maxDeliveries: 100, leaseMs: LEASE_MS, visibilityTimeoutMs: 3_600_000 };
let server: RedisServer;

beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(async () => {
  await server.stop();
});

/** Publishes and says what became of each. */
async function publishAll(broker: Broker, queue: string, ids: readonly string[]): Promise<readonly PublishFate[]> {
  try {
    await broker.publish(ids.map((id) => toQueue(queue, { id })));
    return ids.map(() => "held");
  } catch (error) {
    if (error instanceof PublishError) return error.fates;
    throw error;
  }
}

/** A small generator of numbers in [0, 1) that a seed repeats. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

describe("a link that keeps breaking", () => {
  for (const seed of process.env.LOVAGE_SOAK === "1" ? [1, 2, 3] : [1]) {
    test(`loses and repeats nothing of 10,000 messages (seed ${seed})`, async () => {
      const random = seeded(seed);
      const passages: readonly Passage[] = ["cut", "cutHalfway", "cutAfter"];
      let breaks = 0;
      const rough = (): Passage => {
        if (random() >= 0.03) return "pass";
        breaks += 1;
        return passages[Math.floor(random() * passages.length)] as Passage;
      };
      await using producerLink = await TcpProxy.start(server.port);
      await using workerLink = await TcpProxy.start(server.port);
      producerLink.judge = rough;
      workerLink.judge = rough;
      await using producer = await openBroker(producerLink.url, { publishTimeoutMs: 60_000 });
      await using worker = await openBroker(workerLink.url);
      await using backend = await openBackend(workerLink.url);
      const queue = `rough${seed}`;
      const name = `worker-${queue}`;
      const ids = Array.from({ length: 10_000 }, (_, i) => `${queue}-${i}`);
      const executed = new Map<string, number>();
      const answers = new Map<string, number>();
      const stop = new AbortController();
      const keepLease = setInterval(() => void worker.leases?.renew(name, 60_000).catch(() => undefined), 200);
      const slots = new Slots(64);
      const settling: Promise<unknown>[] = [];
      const consuming = (async () => {
        for await (const batch of worker.consume([queue], { worker: name, credit: slots, signal: stop.signal })) {
          slots.take(batch.length);
          for (const delivery of batch) executed.set(idOf(delivery), (executed.get(idOf(delivery)) ?? 0) + 1);
          settling.push(
            worker
              .settle(
                batch.map((delivery) => ({
                  delivery,
                  end: { kind: "ack" },
                  results: [{ taskId: idOf(delivery), state: "SUCCESS", document: '{"status": "SUCCESS"}', expiresMs: 600_000 }],
                  publish: [toQueue(`${queue}-next`, { id: `${idOf(delivery)}-next` })],
                })),
                { backend },
              )
              .then((told) => {
                for (const answer of told) answers.set(answer, (answers.get(answer) ?? 0) + 1);
                slots.give(batch.length);
              }),
          );
        }
      })();
      const fates: PublishFate[] = [];
      for (let i = 0; i < ids.length; i += 25) fates.push(...(await publishAll(producer, queue, ids.slice(i, i + 25))));
      expect(fates.filter((fate) => fate !== "held")).toEqual([]);
      await eventually("all settled", () => (answers.get("settled") ?? 0) + (answers.get("lost") ?? 0) >= ids.length, 60_000);
      producerLink.judge = () => "pass";
      workerLink.judge = () => "pass";
      stop.abort();
      await consuming;
      await Promise.all(settling);
      clearInterval(keepLease);
      expect([...executed.values()].filter((count) => count !== 1)).toEqual([]);
      expect(executed.size).toBe(ids.length);
      expect(breaks).toBeGreaterThan(30);
      expect(Object.fromEntries(answers)).toEqual({ settled: ids.length });
      const next = await takeAll(producer, `${queue}-next`, ids.length);
      expect(new Set(next.map(idOf)).size).toBe(ids.length);
      expect((await backend.fetch(ids)).filter((document) => document === undefined)).toEqual([]);
      const left = await producer.depth([queue, `${queue}-next`]);
      expect(left.map(({ ready }) => ready)).toEqual([0, 0]);
      expect((await worker.leases?.list())?.find((lease) => lease.worker === name)?.loans).toBe(0);
      await worker.leases?.release(name);
    });
  }
});

/** Takes until nothing comes for a moment; fails when it is not `count`. */
async function takeAll(broker: Broker, queue: string, count: number): Promise<Delivery[]> {
  const worker = `drain-${queue}`;
  const stop = new AbortController();
  const taken: Delivery[] = [];
  setTimeout(() => stop.abort(), 20_000).unref();
  for await (const batch of broker.consume([queue], { worker, credit: new Slots(count + 1), signal: stop.signal })) {
    taken.push(...batch);
    await broker.settle(batch.map((delivery) => ({ delivery, end: { kind: "ack" } })));
    if (taken.length >= count) stop.abort();
  }
  await broker.leases?.release(worker);
  return taken;
}

interface Death {
  readonly direction: Direction;
  readonly index: number;
  readonly passage: Passage;
}

/** One life of a process: publishes, takes, settles with a result and a follow-up; ends at the given chunk. Returns what it knew. */
async function live(queue: string, death: Death): Promise<{ fates: readonly PublishFate[]; settled: readonly string[]; died: boolean }> {
  await using link = await TcpProxy.start(server.port);
  const stop = new AbortController();
  let died = false;
  link.judge = (direction, index) => {
    if (died) return "cut";
    if (direction !== death.direction || index !== death.index) return "pass";
    died = true;
    link.refuses = true;
    setImmediate(() => {
      link.isSilent = true;
      stop.abort(new Error("the process died"));
      link.cut();
    });
    return death.passage;
  };
  const broker = await openBroker(link.url, { publishTimeoutMs: 1000, connectTimeoutMs: 500 });
  const backend = await openBackend(link.url);
  const settled: string[] = [];
  const name = `worker-${queue}`;
  let fates: readonly PublishFate[] = [];
  try {
    const deadline = AbortSignal.any([stop.signal, AbortSignal.timeout(3000)]);
    fates = await publishAll(broker, queue, ["a", "b", "c"]);
    await Promise.race([broker.leases?.renew(name, LEASE_MS), aborted(deadline)]);
    for await (const batch of broker.consume([queue], { worker: name, credit: new Slots(10), signal: deadline })) {
      for (const delivery of batch) {
        const answer = await broker.settle(
          [
            {
              delivery,
              end: { kind: "ack" },
              results: [{ taskId: `${queue}-${idOf(delivery)}`, state: "SUCCESS", document: '{"status": "SUCCESS"}', expiresMs: 600_000 }],
              publish: [toQueue(`${queue}-next`, { id: idOf(delivery) })],
            },
          ],
          { backend, signal: deadline },
        );
        if (answer[0] === "settled") settled.push(idOf(delivery));
      }
      if (settled.length >= fates.filter((fate) => fate === "held").length) stop.abort(new Error("done"));
    }
  } catch (error) {
    if (!died) throw error;
  }
  link.cut();
  await Promise.all([broker[Symbol.asyncDispose](), backend[Symbol.asyncDispose]()]);
  return { fates, settled, died };
}

async function aborted(signal: AbortSignal): Promise<never> {
  signal.throwIfAborted();
  return await new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
}

describe("a process that dies at every point where it waits", () => {
  for (const direction of ["request", "answer"] as const) {
    for (const passage of ["cut", "cutHalfway", "cutAfter"] as const) {
      test(`${direction}s, ${passage}: what was held is executed, and what was settled stays settled`, async () => {
        await using sweeper = await openBroker(server.url);
        let deaths = 0;
        const oneLife = async (index: number): Promise<boolean> => {
          const queue = `dies-${direction}-${passage}-${index}`;
          const { fates, settled, died } = await live(queue, { direction, index, passage });
          if (!died) return false;
          deaths += 1;
          // What is on loan comes back when the lease has run out.
          const stop = new AbortController();
          const executed: string[] = [...settled];
          const isComplete = async (): Promise<boolean> => {
            await sweeper.leases?.sweep(SWEEPING);
            const [depth] = await sweeper.depth([queue]);
            const leases = await sweeper.leases?.list();
            return depth?.ready === 0 && !leases?.some((lease) => lease.worker === `worker-${queue}`);
          };
          const consuming = (async () => {
            for await (const batch of sweeper.consume([queue], { worker: `rescue-${queue}`, credit: new Slots(10), signal: stop.signal })) {
              executed.push(...batch.map(idOf));
              await sweeper.settle(batch.map((delivery) => ({ delivery, end: { kind: "ack" } })));
            }
          })();
          await eventually(`${queue}: everything back and executed`, isComplete, 20_000);
          await eventually(`${queue}: the rescuer holds nothing`, async () =>
            (await sweeper.leases?.list())?.every((lease) => lease.worker !== `rescue-${queue}` || lease.loans === 0),
          );
          stop.abort();
          await consuming;
          await sweeper.leases?.release(`rescue-${queue}`);
          // Whether the settlement of one message arrived is not known when its answer was lost.
          const doubtful = await takeAllNow(sweeper, `${queue}-next`);
          const done = new Set([...executed, ...doubtful]);
          ["a", "b", "c"].forEach((id, i) => {
            const fate = fates[i] ?? "unknown"; // it died before it was told
            if (fate === "held") expect(done, `${queue}: ${id} was held`).toContain(id);
            if (fate === "refused") expect(done, `${queue}: ${id} was refused`).not.toContain(id);
          });
          for (const id of settled)
            expect(
              executed.filter((each) => each === id),
              `${queue}: ${id} was settled`,
            ).toEqual([id]);
          expect(doubtful.length, `${queue}: each follow-up at most once`).toBe(new Set(doubtful).size);
          for (const id of settled) expect(doubtful, `${queue}: the follow-up of ${id}`).toContain(id);
          return true;
        };
        for (let index = 0; ; index += 16) {
          const lives = await Promise.all(Array.from({ length: 16 }, async (_, i) => await oneLife(index + i)));
          if (lives.some((died) => !died)) break;
        }
        expect(deaths).toBeGreaterThan(8);
      });
    }
  }
});

async function takeAllNow(broker: Broker, queue: string): Promise<string[]> {
  const [depth] = await broker.depth([queue]);
  return depth && depth.ready > 0 ? (await takeAll(broker, queue, depth.ready)).map(idOf) : [];
}
