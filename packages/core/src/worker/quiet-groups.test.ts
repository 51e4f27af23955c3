/** Chords that nothing is heard of, in memory and by a clock that is turned by hand. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { chain, chord } from "../app/compose.ts";
import { Signature } from "../app/signature.ts";
import type { Broker, Delivery } from "../brokers/broker.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { memoryApp } from "../testing/memory-app.ts";
import { Worker } from "./worker.ts";

let clock: FakeClock;
let app: ReturnType<typeof memoryApp>;
let worker: Worker;
const seen: unknown[] = [];

beforeEach(() => {
  seen.length = 0;
  clock = new FakeClock();
  app = memoryApp({ clock, chordLostAfter: "10m" });
});
afterEach(async () => {
  const stopped = worker.stop();
  await clock.advance(5000);
  await stopped;
  await app.close();
});

function tasks() {
  const add = app.task("add", (x: number, y: number) => x + y);
  const sum = app.task("sum", (list: readonly number[]) => list.reduce((all, each) => all + each, 0));
  const note = app.task("note", (what: unknown) => void seen.push(what));
  return { add, sum, note };
}

async function begin(): Promise<void> {
  worker = new Worker(app, { concurrency: 4, queues: ["celery"] });
  const started = worker.start();
  await clock.advance(100);
  await started;
}

const stateOf = (id: string): Promise<string> => app.result(id).state();

test("a member that is revoked while it is parked reports within seconds, and not when its time has come", async () => {
  const { add, sum, note } = tasks();
  await begin();
  const parked = add.s(1, 2).set({ countdown: "5h" }).freeze("the-parked").signature;
  const result = await chord([add.s(1, 1), parked], sum.s().onError(note.s())).delay();
  await clock.advance(1000);
  await app.control.revoke("the-parked");
  await clock.advance(30_000);
  expect(await stateOf("the-parked")).toBe("REVOKED");
  expect(await stateOf(result.id)).toBe("FAILURE");
  await expect(result.get({ timeout: "1s" })).rejects.toThrow(/Dependency the-parked raised TaskRevokedError/);
  await clock.advance(1000);
  expect(seen).toEqual([result.id]);
});

test("a chord of whose members there is no message any more fails with their names, and no other one does", async () => {
  const { add, sum, note } = tasks();
  await begin();
  const lost = ["lost-1", "lost-2"].map((id) => add.s(1, 2).set({ queue: "elsewhere" }).freeze(id).signature);
  const result = await chord([add.s(1, 1), ...lost], sum.s().onError(note.s())).delay();
  const waits = await chord([add.s(1, 1), add.s(1, 2).set({ countdown: "5h" })], sum.s()).delay();
  await clock.advance(1000);
  await (await app.broker()).purge("elsewhere");
  await clock.advance(8 * 60_000);
  expect(await stateOf(result.id)).toBe("PENDING");
  await clock.advance(10 * 60_000);
  await expect(result.get({ timeout: "1s" })).rejects.toThrow(
    /cannot be completed: nothing was heard of lost-1, lost-2 for \d+ s, and there is no message of theirs any more/,
  );
  expect(await stateOf("lost-1")).toBe("FAILURE");
  expect(seen).toEqual([result.id]);
  expect(await stateOf(waits.id)).toBe("PENDING");
});

test("a chord is not given up while a member of it waits for its turn under a limit", async () => {
  const { sum } = tasks();
  const call = app.task("call", { limit: { rate: "1/h" } }, (x: number) => x);
  await begin();
  const result = await chord([call.s(1), call.s(2)], sum.s()).delay();
  await clock.advance(40 * 60_000);
  expect(await stateOf(result.id)).toBe("PENDING");
  await clock.advance(30 * 60_000);
  expect(await result.get({ timeout: "1s" })).toBe(3);
});

test("a member that a sweep has buried, which stores no result, reports", async () => {
  const { add, sum } = tasks();
  const result = await chord([add.s(1, 1), add.s(1, 2).set({ queue: "second" }).freeze("buried").signature], sum.s()).delay();
  const broker = await app.broker();
  const stop = new AbortController();
  for await (const [delivery] of broker.consume(["second"], {
    worker: "hand",
    credit: { free: () => 1, whenFree: async () => {} },
    signal: stop.signal,
  })) {
    const record = {
      id: "buried",
      task: "add",
      reason: "poison" as const,
      error: "the worker was lost 7 times",
      worker: "w",
      at: clock.now(),
      losses: 7,
      retries: 0,
    };
    if (delivery) await broker.settle([{ delivery, end: { kind: "deadLetter", record } }]);
    stop.abort();
  }
  worker = new Worker(app, { concurrency: 4, queues: ["celery", "second"] });
  const started = worker.start();
  await clock.advance(30_000);
  await started;
  await expect(result.get({ timeout: "1s" })).rejects.toThrow(/Dependency buried raised WorkerLostError\('the worker was lost 7 times'\)/);
  expect(await stateOf("buried")).toBe("FAILURE");
});

test("a member that no worker knows, and one that was lost with its workers too often, report", async () => {
  const { add, sum } = tasks();
  const unknown = Signature.from<number>(app, { task: "nobody.knows", args: [], options: { task_id: "unknown" } });
  const first = await chord([add.s(1, 1), unknown], sum.s()).delay();
  const second = await chord([add.s(1, 1), add.s(1, 2).freeze("poison").signature], sum.s()).delay();
  const broker = await app.broker();
  for (let losses = 0; losses < app.settings.maxDeliveries; losses++) await lose(broker, "poison");
  await begin();
  await clock.advance(15 * 60_000);
  await expect(first.get({ timeout: "1s" })).rejects.toThrow(/Dependency unknown raised NotRegistered/);
  await expect(second.get({ timeout: "1s" })).rejects.toThrow(/Dependency poison raised WorkerLostError/);
});

/** As if the worker that had it died; all others go back as they were. */
async function lose(broker: Broker, id: string): Promise<void> {
  const stop = new AbortController();
  const credit = { free: () => 10, whenFree: async () => {} };
  for await (const batch of broker.consume(["celery"], { worker: "hand", credit, signal: stop.signal })) {
    const isMeant = (delivery: Delivery): boolean => delivery.open().message.headers["id"] === id;
    await broker.settle(
      batch.map((delivery) => ({
        delivery,
        end: isMeant(delivery) ? { kind: "requeue", to: "front", isLoss: true } : { kind: "putBack" },
      })),
    );
    stop.abort();
  }
}

test("what goes on behind a chain or another chord is no reason to give up", async () => {
  const { add, sum } = tasks();
  await begin();
  const late = add.s(1, 2).set({ countdown: "1h" });
  const inner = chord([add.s(1, 1), late], sum.s());
  const result = await chord([add.s(1, 1), inner], sum.s()).delay();
  await clock.advance(50 * 60_000);
  expect(await stateOf(result.id)).toBe("PENDING");
  await clock.advance(15 * 60_000);
  expect(await result.get({ timeout: "1s" })).toBe(7);
});

test("a member that is ignored, or whose chain ends so, is null in the list", async () => {
  const { add } = tasks();
  const ignored = app.task({ name: "ignored", run: (ctx): number => ctx.ignore() });
  const list = app.task("list", (all: readonly unknown[]) => all);
  await begin();
  const result = await chord([add.s(1, 1), ignored.s(), chain(ignored.s(), add.s(1), add.s(2))], list.s()).delay();
  await clock.advance(3000);
  expect(await result.get({ timeout: "1s" })).toEqual([2, null, null]);
});

test("a member that cannot be read reports by its headers", async () => {
  const { add, sum, note } = tasks();
  const result = await chord(
    [add.s(1, 1).freeze("good").signature, add.s(1, 2).freeze("bad").signature],
    sum.s().onError(note.s()),
  ).delay();
  const broker = await app.broker();
  const stop = new AbortController();
  const credit = { free: () => 2, whenFree: async () => {} };
  for await (const batch of broker.consume(["celery"], { worker: "hand", credit, signal: stop.signal })) {
    for (const delivery of batch) {
      const { message } = delivery.open();
      const isBad = message.headers["id"] === "bad";
      const broken = { ...message, body: Buffer.from("[[1, 2], {") };
      await broker.settle([
        { delivery, end: { kind: "ack" }, publish: [{ message: isBad ? broken : message, exchange: "", routingKey: "celery" }] },
      ]);
    }
    stop.abort();
  }
  await begin();
  await clock.advance(3000);
  expect(await stateOf("bad")).toBe("FAILURE");
  expect(await stateOf(result.id)).toBe("FAILURE");
  expect(seen).toEqual([result.id]);
});
