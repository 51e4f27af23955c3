/**
 * The rules of limits are written twice: `limit-ledger.ts` for memory and SQLite, `limit-rules.lua` for Redis. Whatever is asked of
 * them, in whatever order and at whatever time, both answer the same.
 */
import fc from "fast-check";
import type { Redis } from "ioredis";
import { expect, test } from "vitest";

import type { Delivery, LoanId } from "../../../src/brokers/broker.ts";
import { LimitsByLedger } from "../../../src/brokers/limits-by-ledger.ts";
import type { Admission, Limits, LimitSpec, Turns } from "../../../src/brokers/limits.ts";
import { MemoryLimitRows } from "../../../src/brokers/memory/limits.ts";
import type { RedisContext } from "../../../src/brokers/redis/context.ts";
import { RedisDelivery } from "../../../src/brokers/redis/delivery.ts";
import { EnvelopeReader } from "../../../src/protocol/envelope-reader.ts";
import { RedisLimits } from "../../../src/brokers/redis/limits.ts";
import type { WorkerSession } from "../../../src/brokers/redis/session.ts";
import type { RedisScript } from "../../../src/stores/redis/scripts.ts";
import { serverOfFile } from "../../support/server-of-file.ts";

const reader = new EnvelopeReader();

const START = 1_700_000_000_000;
const SPECS: Readonly<Record<string, LimitSpec>> = {
  dense: { intervalMs: 20, burst: 1 },
  burst: { intervalMs: 400, burst: 3 },
  places: { burst: 1, concurrency: 2 },
  both: { intervalMs: 50, burst: 2, concurrency: 3 },
  held: { burst: 1 },
};
const SETS: readonly (readonly string[])[] = [
  ["dense"], ["burst"], ["places"], ["both"], ["held\ta"], ["burst\ta", "places"], ["burst\tb", "places"], ["both", "dense"], ["unlimited"],
]; // prettier-ignore

const MANY = Array.from({ length: 60 }, (_, i) => `other${i}`);

type Step =
  | { readonly kind: "ask"; readonly sets: readonly number[]; readonly expiresInMs: number | undefined }
  | { readonly kind: "again" }
  | { readonly kind: "advance"; readonly want: number }
  | { readonly kind: "release"; readonly count: number }
  | { readonly kind: "giveUp"; readonly at: number }
  | { readonly kind: "hold"; readonly set: number; readonly ms: number }
  | { readonly kind: "set"; readonly id: string; readonly spec: LimitSpec | null | undefined }
  | { readonly kind: "pass"; readonly ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({
    kind: fc.constant("ask" as const),
    sets: fc.array(fc.integer({ min: 0, max: SETS.length - 1 }), { minLength: 1, maxLength: 6 }),
    expiresInMs: fc.option(fc.integer({ min: 1, max: 2000 }), { nil: undefined, freq: 5 }),
  }) },
  { weight: 3, arbitrary: fc.constant({ kind: "again" as const }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("advance" as const), want: fc.integer({ min: 1, max: 8 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("release" as const), count: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("giveUp" as const), at: fc.nat({ max: 20 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("hold" as const), set: fc.nat({ max: SETS.length - 1 }), ms: fc.integer({ min: 1, max: 900 }) }) },
  { weight: 1, arbitrary: fc.record({
    kind: fc.constant("set" as const),
    id: fc.constantFrom("dense", "burst", "burst\ta", "places", "both"),
    spec: fc.constantFrom<LimitSpec | null | undefined>({ intervalMs: 100, burst: 2 }, { burst: 1, concurrency: 1 }, null, undefined),
  }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.constantFrom(1, 10, 50, 199, 200, 333, 1000, 6000) }) },
); // prettier-ignore

/** One store that a sequence of steps is played on. */
interface Stage {
  readonly limits: Limits;
  /** Makes loans of messages. */
  lend(ids: readonly string[]): Promise<readonly Delivery[]>;
  /** What is ready again, the first to be taken first; it is lent anew. */
  takeReady(): Promise<readonly string[]>;
  now: number;
}

interface Asked {
  readonly id: string;
  readonly limits: readonly string[];
  readonly expiresAt: number | undefined;
}

/** @param others limits that nothing is under: where there are many, they are read otherwise */
async function play(stage: Stage, steps: readonly Step[], others: readonly string[]): Promise<unknown[]> {
  const { limits } = stage;
  const seen: unknown[] = [];
  const asked = new Map<string, Asked>();
  let running: Delivery[] = [];
  let number = 0;
  const turn = { queues: ["q"], want: 4 };
  await limits.declare(new Map([...Object.entries(SPECS), ...others.map((name): [string, LimitSpec] => [name, { burst: 1 }])]));
  const note = ({ moved, nextTurnInMs }: Turns): unknown => ({ moved, nextTurnInMs });
  const ask = async (requests: readonly Asked[]): Promise<void> => {
    stage.now += 1; // no two scripts of one server run in the same microsecond
    const deliveries = await stage.lend(requests.map(({ id }) => id));
    const told = await limits.admit(
      "w",
      requests.map((request, i) => ({ ...request, delivery: deliveries[i] as Delivery })),
    );
    seen.push(
      told.answers.map((answer: Admission) => (answer.kind === "admitted" ? [answer.startsInMs, answer.isHeld] : answer.kind)),
      told.nextTurnInMs,
    );
    running.push(...deliveries.filter((_, i) => told.answers[i]?.kind === "admitted"));
  };
  for (const each of steps) {
    switch (each.kind) {
      case "ask": {
        const requests = each.sets.map((set) => ({
          id: `m${number++}`,
          limits: SETS[set] as readonly string[],
          expiresAt: each.expiresInMs === undefined ? undefined : stage.now + each.expiresInMs,
        }));
        for (const request of requests) asked.set(request.id, request);
        await ask(requests);
        break;
      }
      case "again": {
        const ids = await stage.takeReady();
        seen.push(ids);
        if (ids.length > 0) await ask(ids.map((id) => asked.get(id) as Asked));
        break;
      }
      case "advance":
        seen.push(note(await limits.advance("w", { queues: ["q"], want: each.want })));
        break;
      case "release":
        if (running.length === 0) break;
        seen.push(note(await limits.release("w", running.slice(0, each.count), turn)));
        running = running.slice(each.count);
        break;
      case "giveUp": {
        const request = asked.get(`m${each.at}`);
        if (request) seen.push(note(await limits.giveUp("w", [request], turn)));
        break;
      }
      case "hold":
        await limits.holdBack(SETS[each.set] as readonly string[], each.ms);
        break;
      case "set":
        await limits.set(each.id, each.spec);
        await limits.recheck([each.id.split("\t")[0] as string]);
        break;
      case "pass":
        stage.now += each.ms;
        break;
    }
    const states = await limits.states(100);
    seen.push(states.map(({ id, waiting, running: count }) => [id, waiting, count]).filter(([, waiting, count]) => waiting !== 0 || count !== 0).toSorted((a, b) => String(a[0]).localeCompare(String(b[0])))); // prettier-ignore
  }
  return seen;
}

function memoryStage(): Stage {
  let ready: string[] = [];
  const loans = new Map<LoanId, string>();
  let number = 0;
  const stage: Stage = {
    now: START,
    limits: new LimitsByLedger<string>({
      rows: new MemoryLimitRows<string>((id) => ready.unshift(id)),
      now: () => stage.now,
      step: async (work) => work(),
      endLoan({ loan }) {
        const id = loans.get(loan);
        loans.delete(loan);
        return id;
      },
      isAlive: () => true,
      returned: () => undefined,
    }),
    lend: async (ids) =>
      ids.map((id) => {
        const loan = `l.${++number}\nq` as LoanId;
        loans.set(loan, id);
        return { loan, queue: "q", losses: 0, raw: id, open: () => { throw new Error("nobody opens it"); } };
      }),
    async takeReady() {
      const taken = ready;
      ready = [];
      return taken;
    },
  }; // prettier-ignore
  return stage;
}

function redisStage(redis: Redis): Stage {
  let number = 0;
  const connection = {
    isOpen: true,
    command: async (name: string, args: readonly (string | number)[]) => await redis.callBuffer(name, ...args.map(String)),
    script: async ({ modern }: RedisScript, keys: readonly string[], args: readonly unknown[]) =>
      await redis.callBuffer("EVAL", modern.source, keys.length, ...keys, String(stage.now), ...args.slice(1).map(String)),
  };
  const context = {
    location: "redis://test",
    clock: { monotonic: () => stage.now },
    shard: { prefix: "", separator: "\u0006\u0016" },
    options: { prioritySteps: [0, 3, 6, 9] },
    commands: { current: connection, connection: async () => connection },
  };
  const session = {
    worker: "w",
    loansKey: "loans",
    isOutstanding: () => true,
    isAttachedTo: () => false,
    forget: () => undefined,
    connection: async () => connection,
  };
  // Only what limits use of them.
  const limits = new RedisLimits(
    context as unknown as RedisContext,
    () => session as unknown as WorkerSession,
    async () => undefined,
  );
  const stage: Stage = {
    now: START,
    limits,
    async lend(ids) {
      const source = { queue: "q", list: "q" };
      const deliveries = ids.map((id) => new RedisDelivery({ loan: `l.${++number}\nq`, number, source, raw: Buffer.from(id), reader }));
      for (const { loan, raw } of deliveries) await redis.hset("loans", loan, raw);
      return deliveries;
    },
    async takeReady() {
      const taken: string[] = [];
      for (let id = await redis.rpop("q"); id !== null; id = await redis.rpop("q")) taken.push(id);
      return taken;
    },
  };
  return stage;
}

const file = serverOfFile();

test("Redis counts as memory and SQLite do", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), fc.constantFrom([], MANY), async (steps, others) => {
      await file.hand.flushall();
      expect(await play(redisStage(file.hand), steps, others)).toEqual(await play(memoryStage(), steps, others));
    }),
    { numRuns: process.env.LOVAGE_SOAK === "1" ? 2000 : 60 },
  );
});

test("starts that are long over leave nothing behind, however many limits there were", async () => {
  await file.hand.flushall();
  const stage = redisStage(file.hand);
  const ask = async (keys: readonly string[]): Promise<void> => {
    const deliveries = await stage.lend(keys);
    await stage.limits.admit(
      "w",
      keys.map((key, i) => ({ delivery: deliveries[i] as Delivery, id: key, limits: [`dense\t${key}`], expiresAt: undefined })),
    );
  };
  await stage.limits.declare(new Map(Object.entries(SPECS)));
  await ask(MANY);
  expect(await file.hand.zcard("lovage:limits:tats")).toBe(MANY.length);
  stage.now += 900;
  await ask(["soon"]);
  expect(await file.hand.zcard("lovage:limits:tats")).toBe(MANY.length + 1); // what is over for a moment may still be asked for
  stage.now += 10_000;
  for (let round = 0; round < 2; round++) await ask(MANY.slice(0, 40).map((key) => `${round}${key}`));
  expect(await file.hand.zcard("lovage:limits:tats")).toBe(80);
});
