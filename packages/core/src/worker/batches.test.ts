/** Batches through a worker, in memory: what is called when, with what, and what is counted. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Batch, type BatchSummary, currentBatch } from "../app/batch.ts";
import { chain, group } from "../app/compose.ts";
import { BatchClosedError } from "../app/errors.ts";
import { currentTask } from "../app/process-wide.ts";
import { memoryApp } from "../testing/memory-app.ts";
import type { Batches, DueCallback } from "../results/batches.ts";
import type { ResultBackend } from "../results/result-backend.ts";
import { BatchKeeper, type BatchKeeperDeps } from "./batch-keeper.ts";
import { Worker } from "./worker.ts";

vi.setConfig({ testTimeout: 30_000 }); // what nobody brought about here is seen at the next look, seconds later

let app: ReturnType<typeof memoryApp>;
let worker: Worker | undefined;
let told: { event: string; summary: BatchSummary }[];

beforeEach(() => {
  told = [];
  worker = undefined;
  app = memoryApp();
});
afterEach(async () => {
  await worker?.stop();
  await app.close();
});

function tasks() {
  const work = app.task("work", (x: number) => x);
  const fail = app.task("fail", (): number => {
    throw new RangeError("no");
  });
  const tell = app.task("tell", (summary: BatchSummary, event: string) => void told.push({ event, summary }));
  const callbacks = { onSuccess: tell.s("success"), onComplete: tell.s("complete"), onDeath: tell.s("death") };
  return { work, fail, tell, callbacks };
}

async function begin(): Promise<void> {
  worker = new Worker(app, { concurrency: 4 });
  await worker.start();
}

async function keeperOf(batches: Batches, encodeCalls: BatchKeeperDeps["encodeCalls"] = () => []): Promise<BatchKeeper> {
  return new BatchKeeper({
    broker: await app.broker(),
    backend: (await app.backend()) as ResultBackend,
    batches,
    queues: ["celery"],
    resultSerializer: "json",
    resultExpiresMs: undefined,
    accept: new Set(["application/json"]),
    encodeCalls,
    brokerNow: () => app.clock.now(),
    clock: app.clock,
    random: app.random,
    logger: app.logger,
  });
}

const get = { timeout: "10s" } as const;
const many = (count: number) => Array.from({ length: count }, (_, i) => i);
const names = (): string[] => told.map(({ event }) => event).toSorted();
const waitFor = async (isSo: () => boolean): Promise<void> => {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
};

describe("callbacks", () => {
  test("complete and success are called once with the counts when all have succeeded", async () => {
    const { work, callbacks } = tasks();
    const batch = await app.batch({ description: "ten", ...callbacks }, (one) => one.add(many(10).map((i) => work.s(i))));
    expect(await batch.info()).toMatchObject({ state: "sealed", total: 10, pending: 10, description: "ten" });
    await begin();
    const summary = await batch.whenComplete().get(get);
    expect(summary).toEqual({
      id: batch.id,
      description: "ten",
      total: 10,
      pending: 0,
      succeeded: 10,
      failed: 0,
      dead: 0,
      cancelled: false,
    });
    await waitFor(() => told.length === 2);
    expect(names()).toEqual(["complete", "success"]);
    expect(told[0]?.summary).toEqual(summary);
    expect(await batch.info()).toMatchObject({ state: "succeeded" });
    expect(await batch.result(3).get(get)).toBe(3);
    expect(await batch.states(0, 3)).toEqual(["succeeded", "succeeded", "succeeded"]);
  });

  test("death is called once with the first that fails, complete after all, success not", async () => {
    const { work, fail, callbacks } = tasks();
    const batch = await app.batch(callbacks, (one) => one.add([fail.si(), work.s(1), fail.si()]));
    await begin();
    await batch.whenComplete().get(get);
    await waitFor(() => told.length === 2);
    expect(names()).toEqual(["complete", "death"]);
    const { succeeded, failed, dead } = await batch.counts();
    expect([succeeded, failed + dead]).toEqual([1, 2]);
  });

  test("a member that is retried is pending until it has ended", async () => {
    const { callbacks } = tasks();
    const flaky = app.task({
      name: "flaky",
      retry: { maxRetries: 2, backoff: { kind: "fixed", delay: 0 }, jitter: "none" } as never,
      run(): string {
        const ctx = currentTask();
        if (ctx !== undefined && ctx.retries < 2) ctx.retry({ countdown: 0 });
        return "at last";
      },
    });
    const batch = await app.batch(callbacks, (one) => one.add([flaky.s()]));
    await begin();
    expect((await batch.whenComplete().get(get)).succeeded).toBe(1);
    expect(await batch.result(0).get(get)).toBe("at last");
    await waitFor(() => told.length === 2);
    expect(names()).toEqual(["complete", "success"]);
  });

  test("a dead letter that is put back and succeeds makes the batch succeed after all", async () => {
    const { callbacks } = tasks();
    let isBroken = true;
    const fragile = app.task({
      name: "fragile",
      deadLetter: { on: ["failed"] },
      run(): void {
        if (isBroken) throw new Error("broken");
      },
    });
    const batch = await app.batch(callbacks, (one) => one.add([fragile.s()]));
    await begin();
    expect(await batch.whenComplete().get(get)).toMatchObject({ dead: 1 });
    await waitFor(() => told.length === 2);
    isBroken = false;
    const broker = await app.broker();
    expect(await broker.deadLetters?.restore("celery", batch.result(0).id)).toBe(true);
    await waitFor(() => told.length === 3);
    expect(names()).toEqual(["complete", "death", "success"]);
    expect(await batch.info()).toMatchObject({ state: "succeeded", succeeded: 1, dead: 0 });
  });

  test("a workflow may be a callback", async () => {
    const { work, tell } = tasks();
    const sum = app.task("sum", (list: readonly number[]) => list.length);
    const onSuccess = chain(group([work.si(1), work.si(2)]), sum.s(), tell.s("chain") as never);
    const batch = await app.batch({ onSuccess: onSuccess as never }, (one) => one.add([work.s(0)]));
    await begin();
    await batch.whenComplete().get(get);
    await waitFor(() => told.length === 1);
    expect(told).toEqual([{ event: "chain", summary: 2 }]);
  });

  test("an empty batch is complete at once", async () => {
    const { callbacks } = tasks();
    await begin();
    const batch = await app.batch(callbacks, async () => undefined);
    expect((await batch.whenComplete().get(get)).total).toBe(0);
    await waitFor(() => told.length === 2);
    expect(names()).toEqual(["complete", "success"]);
  });
});

describe("adding", () => {
  test("members add to their own batch while it runs", async () => {
    const { callbacks } = tasks();
    const pages = app.task("pages", async (left: number): Promise<void> => {
      if (left > 0) await currentBatch()?.add([pages.s(left - 1), pages.s(left - 1)]);
    });
    const batch = await app.batch(callbacks, (one) => one.add([pages.s(3)]));
    await begin();
    expect((await batch.whenComplete().get(get)).succeeded).toBe(15);
    await waitFor(() => told.length === 2);
    expect(currentBatch()).toBeUndefined();
  });

  test("a run that is repeated adds the same members, and what it does not repeat is withdrawn", async () => {
    const { work } = tasks();
    let runs = 0;
    const loader = app.task("loader", async (): Promise<void> => {
      const ctx = currentTask();
      const own = currentBatch() as Batch;
      await own.add([work.s(1), work.s(2)]);
      if (runs++ === 0) ctx?.retry({ countdown: 0 });
      await own.add([work.s(3)]);
    });
    const batch = await app.batch({}, (one) => one.add([loader.s()]));
    await begin();
    expect(await batch.whenComplete().get(get)).toMatchObject({ total: 4, succeeded: 4 });
    expect(runs).toBe(2);
  });

  test("from anything that can be iterated, in portions", async () => {
    const { work } = tasks();
    const batch = await app.batch();
    async function* endless() {
      for (const i of many(2500)) yield work.s(i);
    }
    expect(await batch.add(endless())).toBe(2500);
    expect(await batch.info()).toMatchObject({ state: "open", total: 2500 });
    await begin();
    await batch.seal();
    expect((await batch.whenComplete().get({ timeout: "60s" })).succeeded).toBe(2500);
  });

  test("not once it is complete", async () => {
    const { work } = tasks();
    await begin();
    const batch = await app.batch({}, (one) => one.add([work.s(1)]));
    await batch.whenComplete().get(get);
    await expect(batch.add([work.s(2)])).rejects.toThrow(BatchClosedError);
    await expect(app.openBatch("none").add([work.s(2)])).rejects.toThrow(/no batch none/);
  });

  test("what cannot be a member is refused, and takes no place", async () => {
    const { work } = tasks();
    const batch = await app.batch();
    await expect(batch.add([group([work.s(1)]) as never])).rejects.toThrow(/a group cannot be a member/);
    await expect(batch.add([work.s(1).set({ taskId: "mine" })])).rejects.toThrow(/gets its id from its batch/);
    expect(await batch.counts()).toMatchObject({ total: 0 });
  });

  test("what the broker did not take is no member", async () => {
    const { work } = tasks();
    const batch = await app.batch();
    await expect(batch.add([work.s(1).set({ exchange: "nowhere", routingKey: "x" })])).rejects.toThrow(/was not sent/);
    expect(await batch.counts()).toMatchObject({ total: 0, pending: 0 });
    await batch.add([work.s(1)]);
    await batch.seal();
    await begin();
    expect(await batch.whenComplete().get(get)).toMatchObject({ total: 1, succeeded: 1 });
  });

  test("when filling throws the batch is cancelled", async () => {
    const { work, callbacks } = tasks();
    let made: Batch | undefined;
    const filling = app.batch(callbacks, async (one) => {
      made = one;
      await one.add([work.s(1)]);
      throw new Error("the file ends here");
    });
    await expect(filling).rejects.toThrow("the file ends here");
    expect(await made?.info()).toMatchObject({ state: "cancelled" });
  });
});

describe("batches in batches", () => {
  test("a child is one member of its parent, which ends after it", async () => {
    const { work, callbacks } = tasks();
    const parent = await app.batch(callbacks, async (one) => {
      await one.add([work.s(0)]);
      await one.child({}, (inner) => inner.add(many(5).map((i) => work.s(i))));
    });
    expect(await parent.counts()).toMatchObject({ total: 2 });
    await begin();
    expect(await parent.whenComplete().get(get)).toMatchObject({ total: 2, succeeded: 2 });
    await waitFor(() => told.length === 2);
    expect(names()).toEqual(["complete", "success"]);
  });

  test("a death in a child's child is the death of all above, told once, and they fail", async () => {
    const { work, fail, callbacks } = tasks();
    const top = await app.batch(callbacks, (one) =>
      one.child({}, (middle) => middle.child({}, (inner) => inner.add([fail.si(), fail.si(), work.s(1)]))),
    );
    await begin();
    const summary = await top.whenComplete().get(get);
    expect([summary.total, summary.succeeded, summary.failed + summary.dead]).toEqual([1, 0, 1]);
    await waitFor(() => told.length === 2);
    expect(names()).toEqual(["complete", "death"]);
  });

  test("a parent hears of a death while its child's other members go on", async () => {
    const { fail, callbacks } = tasks();
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const slow = app.task("slow", async () => await held);
    const parent = await app.batch(callbacks, (one) => one.child({}, (inner) => inner.add([fail.si(), slow.s()])));
    await begin();
    await waitFor(() => told.length === 1);
    expect(names()).toEqual(["death"]);
    expect(await parent.counts()).toMatchObject({ total: 1, pending: 1 });
    release();
    await parent.whenComplete().get(get);
    await waitFor(() => told.length === 2);
    expect(names()).toEqual(["complete", "death"]);
  });

  test.each([
    ["failed", {}, { failed: 1, dead: 0 }],
    ["dead", { deadLetter: { on: ["failed"] } }, { failed: 0, dead: 1 }],
  ] as const)("a child with a %s member counts as one for its parent", async (_, options, counts) => {
    tasks();
    const loses = app.task("loses", { ...options }, () => {
      throw new RangeError("no");
    });
    const parent = await app.batch({}, (one) => one.child({}, (inner) => inner.add([loses.s()])));
    await begin();
    expect(await parent.whenComplete().get(get)).toMatchObject({ total: 1, succeeded: 0, ...counts });
  });

  test("a member makes child batches, the same ones when it runs again", async () => {
    const { work } = tasks();
    let runs = 0;
    const spread = app.task("spread", async (): Promise<void> => {
      const inner = await currentBatch()?.child({});
      await inner?.add([work.s(1), work.s(2)]);
      if (runs++ === 0) currentTask()?.retry({ countdown: 0 });
      await inner?.seal();
    });
    const batch = await app.batch({}, (one) => one.add([spread.s()]));
    await begin();
    expect(await batch.whenComplete().get(get)).toMatchObject({ total: 2, succeeded: 2 });
    expect(runs).toBe(2);
  });
});

describe("members that cannot report", () => {
  test("are found by their results and among the dead letters, and counted once", async () => {
    const { work, callbacks } = tasks();
    const batch = await app.batch(callbacks, (one) => one.add(many(4).map((i) => work.s(i))));
    const backend = (await app.backend()) as ResultBackend;
    const store = async (place: number, state: string): Promise<void> => {
      const document = `{"status": "${state}", "result": null, "task_id": "${batch.result(place).id}"}`;
      await backend.store([{ taskId: batch.result(place).id, state, document, expiresMs: 60_000 }]);
    };
    await store(0, "SUCCESS");
    await store(1, "REVOKED");
    await store(2, "STARTED");
    const published: unknown[] = [];
    const keeper = await keeperOf(backend.batches as Batches, (calls) => (published.push(...calls), []));
    expect(await keeper.reconcile(batch.id)).toBe(2);
    expect(await keeper.reconcile(batch.id)).toBe(0);
    expect(await batch.counts()).toMatchObject({ pending: 2, succeeded: 1, failed: 1 });
    await store(2, "SUCCESS");
    await store(3, "SUCCESS");
    expect(await keeper.reconcile(batch.id)).toBe(2);
    await keeper.whenIdle();
    expect(await batch.whenComplete().get(get)).toMatchObject({ succeeded: 3, failed: 1 });
    expect(published).toHaveLength(2); // death and complete
  });
});

describe("a keeper", () => {
  /** Of batches that have expired: what is due is only to be removed, where `removes` says so. */
  async function keeping(count: number, removes: (due: DueCallback) => boolean) {
    const left = new Set(many(count).map((i): DueCallback => ({ id: `b${i}`, event: "complete" })));
    let looks = 0;
    const batches: Partial<Batches> = {
      due: async ({ limit }) => {
        looks += 1;
        return [...left].slice(0, limit);
      },
      read: async (ids) => ids.map(() => undefined),
      done: async (due) => removes(due) && left.delete(due),
    };
    return { keeper: await keeperOf(batches as Batches), left, looks: () => looks };
  }

  test("sees at once to all that is due, a portion at a time", async () => {
    const { keeper, left } = await keeping(250, () => true);
    keeper.kick();
    await keeper.whenIdle();
    expect(left.size).toBe(0);
  });

  test("ends its look at a portion of which it can end nothing", async () => {
    const { keeper, left, looks } = await keeping(250, () => false);
    keeper.kick();
    await keeper.whenIdle();
    expect([left.size, looks()]).toEqual([250, 1]);
  });

  test("looks again when something becomes due while it looks", async () => {
    const { keeper, looks } = await keeping(1, () => {
      if (looks() === 1) keeper.kick();
      return false;
    });
    keeper.kick();
    await keeper.whenIdle();
    expect(looks()).toBe(2);
  });
});

describe("cancelling", () => {
  test("what has not run does not, in child batches too; complete alone is called", async () => {
    const { work, callbacks } = tasks();
    let ran = 0;
    const count = app.task("count", () => void (ran += 1));
    const batch = await app.batch(callbacks, async (one) => {
      await one.add([count.s(), count.s()]);
      await one.child({}, (inner) => inner.add([count.s()]));
    });
    await batch.cancel();
    await expect(batch.add([work.s(1)])).rejects.toThrow(/cancelled/);
    await begin();
    expect(await batch.whenComplete().get(get)).toMatchObject({ cancelled: true, succeeded: 0, failed: 3 });
    await waitFor(() => told.length === 1);
    expect(names()).toEqual(["complete"]);
    expect(ran).toBe(0);
  });
});
