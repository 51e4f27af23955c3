/**
 * What is lent in its turn to the worker that asks, and what goes by the queue all the same: as the epoch, the worker's room and the
 * bytes allow. The session is a stand-in, so that each can be set; the script and the server are real.
 */
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import type { RedisContext } from "../../../src/brokers/redis/context.ts";
import { RedisDelivery } from "../../../src/brokers/redis/delivery.ts";
import { EnvelopeReader } from "../../../src/protocol/envelope-reader.ts";
import { RedisLimits } from "../../../src/brokers/redis/limits.ts";
import type { Hand, WorkerSession } from "../../../src/brokers/redis/session.ts";
import type { RedisScript } from "../../../src/stores/redis/scripts.ts";
import { RedisServer } from "../../support/redis-server.ts";

const reader = new EnvelopeReader();

const MIB = 1024 * 1024;
const TURN = { queues: ["q"], want: 10 };

let server: RedisServer;
let redis: Redis;

beforeAll(async () => {
  server = await RedisServer.start();
  redis = new Redis(server.url);
});
beforeEach(async () => void (await redis.flushall()));
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

/** A worker whose messages have all waited under a limit that is gone by now. */
async function standing(envelopes: readonly string[], { room = 10, hasStopped = false, cannotReturn = false } = {}) {
  const stage = { now: 1_700_000_000_000, scripts: 0 };
  const connection = {
    isOpen: true,
    command: async (name: string, args: readonly (string | number)[]) => await redis.callBuffer(name, ...args.map(String)),
    script: async ({ modern }: RedisScript, keys: readonly string[], args: readonly unknown[]) => {
      stage.scripts += 1;
      return await redis.callBuffer("EVAL", modern.source, keys.length, ...keys, String(stage.now), ...args.slice(1).map(String));
    },
  };
  const context = {
    location: "redis://test",
    clock: { monotonic: () => stage.now },
    shard: { prefix: "", separator: "\u0006\u0016" },
    options: { prioritySteps: [0] },
    commands: { current: connection, connection: async () => connection },
  };
  const taken: RedisDelivery[] = [];
  const returned: RedisDelivery[] = [];
  const known = new Set<unknown>();
  const hand: Hand = { lists: new Set(["q"]), room: () => room, take: (deliveries) => void taken.push(...deliveries) };
  const hands = hasStopped ? [hand] : [hand, hand, hand];
  const session = {
    worker: "w",
    loansKey: "lovage:loans:w",
    epoch: "now",
    prefix: "p.",
    number: () => 7,
    isOutstanding: (delivery: unknown) => known.has(delivery),
    isAttachedTo: () => true,
    handFor: () => hands.shift(),
    lent(number: number, list: string, raw: Buffer) {
      const delivery = new RedisDelivery({ loan: `p.${number}\n${list}`, number, source: { queue: "q", list }, raw, reader });
      known.add(delivery);
      return delivery;
    },
    forget: (delivery: unknown) => void known.delete(delivery),
    connection: async () => connection,
  };
  const limits = new RedisLimits(
    context as unknown as RedisContext,
    () => session as unknown as WorkerSession,
    async (_, deliveries) => {
      returned.push(...deliveries);
      if (cannotReturn) throw new Error("nobody answers");
    },
  );
  await redis.hset("lovage:loans:w", "@epoch", "now");
  await limits.declare(new Map([["r", { intervalMs: 600_000, burst: 1 }]]));
  const requests = ["first", ...envelopes].map((envelope, i) => {
    const delivery = session.lent(100 + i, "q", Buffer.from(envelope));
    return { delivery, id: `m${i}`, limits: ["r"], expiresAt: undefined };
  });
  for (const { delivery } of requests) await redis.hset("lovage:loans:w", delivery.loan, delivery.raw);
  const { answers } = await limits.admit("w", requests);
  expect(answers.map(({ kind }) => kind)).toEqual(["admitted", ...envelopes.map(() => "waits")]);
  await redis.hdel("lovage:loans:w", requests[0]?.delivery.loan ?? "");
  await limits.set("r", null);
  await limits.recheck(["r"]);
  return { limits, session, stage, taken, returned, known };
}

const lent = (deliveries: readonly RedisDelivery[]): string[] => deliveries.map(({ raw }) => raw.toString().slice(0, 1));
const loans = async (): Promise<string[]> => (await redis.hkeys("lovage:loans:w")).filter((field) => field !== "@epoch");
/** What went by the queue, in the order in which it is taken, and how many starts are kept for it. */
const queued = async (): Promise<unknown[]> => [
  (await redis.lrange("q", 0, -1)).map((text) => text.slice(0, 1)).toReversed().join(""),
  await redis.zcard("lovage:limits:kept"),
]; // prettier-ignore

test("all that have their turn become loans, and nothing passes the queue", async () => {
  const { limits, taken } = await standing(["a", "b", "c"]);
  expect(await limits.advance("w", TURN)).toMatchObject({ moved: 3, nextTurnInMs: undefined });
  expect(lent(taken)).toEqual(["a", "b", "c"]);
  expect(await loans()).toEqual(["p.7\nq", "p.8\nq", "p.9\nq"]);
  expect(await queued()).toEqual(["", 0]);
});

test("who is not attached any more is lent nothing", async () => {
  const { limits, taken } = await standing(["a", "b"]);
  await redis.hset("lovage:loans:w", "@epoch", "later");
  expect(await limits.advance("w", TURN)).toMatchObject({ moved: 2 });
  expect([taken, await loans()]).toEqual([[], []]);
  expect(await queued()).toEqual(["ab", 2]);
});

test("what is more than the worker has room for goes by the queue", async () => {
  const { limits, taken } = await standing(["a", "b", "c"], { room: 2 });
  expect(await limits.advance("w", TURN)).toMatchObject({ moved: 3 });
  expect([lent(taken), (await loans()).length]).toEqual([["a", "b"], 2]);
  expect(await queued()).toEqual(["c", 1]);
});

test("what is larger than all that one answer may hold goes by the queue", async () => {
  const { limits, taken } = await standing(["a".repeat(3 * MIB), "b".repeat(3 * MIB), "c"]);
  expect(await limits.advance("w", TURN)).toMatchObject({ moved: 3 });
  expect([lent(taken), (await loans()).length]).toEqual([["a", "c"], 2]);
  expect(await queued()).toEqual(["b", 1]);
});

test("what was lent to who has stopped meanwhile is given back, and is nobody's here when that fails", async () => {
  const given = await standing(["a"], { hasStopped: true });
  expect(await given.limits.advance("w", TURN)).toMatchObject({ moved: 1 });
  expect([lent(given.returned), given.taken]).toEqual([["a"], []]);
  await redis.flushall();
  const { limits, returned, known } = await standing(["a"], { hasStopped: true, cannotReturn: true });
  await expect(limits.advance("w", TURN)).rejects.toThrow();
  expect(returned.map((delivery) => known.has(delivery))).toEqual([false]);
});

test("it is admitted by its turn, unless it comes late or is another's by now", async () => {
  const { limits, stage, taken, session } = await standing(["a"]);
  await limits.advance("w", TURN);
  const [delivery] = taken as [RedisDelivery];
  const scripts = stage.scripts;
  const ask = async (): Promise<unknown> =>
    (await limits.admit("w", [{ delivery, id: "m1", limits: ["r"], expiresAt: undefined }])).answers[0];
  stage.now += 50;
  expect(await ask()).toEqual({ kind: "admitted", startsInMs: 0, isHeld: false });
  expect(stage.scripts - scripts).toBe(0);
  stage.now += 1;
  expect(await ask()).toMatchObject({ kind: "admitted" });
  expect(stage.scripts - scripts).toBe(1);
  stage.now -= 1;
  session.forget(delivery);
  expect(await ask()).toEqual({ kind: "lost" });
});
