import { expect, test } from "vitest";

import { idOf, settleAll, take } from "../../test/support/broker-hands.ts";
import { document, room, type Room } from "../../test/support/worker-room.ts";
import type { BatchItem, Lovage } from "../index.ts";
import { encodeTaskMessage } from "../protocol/task-message.ts";

const EMPTY = [{ ready: 0, parked: 0, onLoan: 0, dead: 0 }];
type Mail = BatchItem<[user: string, text: string], string>;

function digest(app: Lovage, runs: { user: string; texts: string[] }[], size = 10) {
  return app.task({
    name: "digest",
    aggregate: { key: (user: string, _text: string) => user, maxSize: size, maxWait: "5s" },
    run(_ctx, items: readonly Mail[]) {
      runs.push({ user: items[0]?.args[0] ?? "", texts: items.map(({ args: [, text] }) => text) });
      return items.map(({ args: [user, text] }) => `${user}:${text}`);
    },
  });
}

test("calls with one key become one run when the first has waited long enough, each with its own result", async () => {
  const { app, clock, start } = room();
  const runs: { user: string; texts: string[] }[] = [];
  const task = digest(app, runs);
  await start({ name: "one@test" });
  await start({ name: "two@test" }); // whichever takes which
  const results = await task.map([["ann", "1"], ["bob", "2"], ["ann", "3"]]); // prettier-ignore
  await clock.advance(4000);
  results.push(await task.delay("ann", "4"));
  await clock.advance(900);
  expect(runs).toEqual([]);
  expect(await (await app.broker()).depth(["celery"])).toMatchObject([{ ready: 0, parked: 4, onLoan: 0, dead: 0 }]);
  await clock.advance(2500);
  expect(runs.toSorted((a, b) => a.user.localeCompare(b.user))).toEqual([
    { user: "ann", texts: ["1", "3", "4"] },
    { user: "bob", texts: ["2"] },
  ]);
  expect(await Promise.all(results.map((result) => result.get()))).toEqual(["ann:1", "bob:2", "ann:3", "ann:4"]);
  expect(await (await app.broker()).depth(["celery"])).toMatchObject(EMPTY);
});

test("a group that is full runs at once, and the rest of it waits", async () => {
  const { app, clock, start } = room();
  const runs: { user: string; texts: string[] }[] = [];
  const task = digest(app, runs, 3);
  const worker = await start();
  await task.map(Array.from({ length: 7 }, (_, i) => ["ann", String(i)]));
  await clock.advance(50);
  expect(runs.map(({ texts }) => texts)).toEqual([["0", "1", "2"], ["3", "4", "5"]]); // prettier-ignore
  await clock.advance(8000);
  expect(runs.map(({ texts }) => texts)).toEqual([["0", "1", "2"], ["3", "4", "5"], ["6"]]); // prettier-ignore
  expect(worker.status()).toMatchObject({ running: 0, onLoan: 0 });
});

test("what is in a group outlives its workers; another publishes it", async () => {
  const { app, clock, start, stop } = room();
  const runs: { user: string; texts: string[] }[] = [];
  const task = digest(app, runs);
  const first = await start({ name: "one@test" });
  const result = await task.delay("ann", "1");
  await clock.advance(100);
  await stop(first);
  expect(runs).toEqual([]);
  await start({ name: "two@test" });
  await clock.advance(6000);
  expect(await result.get()).toBe("ann:1");
});

test("each call ends for itself: failed, retried with others, expired, revoked", async () => {
  const { app, clock, start } = room();
  const runs: string[][] = [];
  const task = app.task({
    name: "mixed",
    aggregate: { maxSize: 10, maxWait: "1s" },
    maxRetries: 1,
    run(_ctx, items: readonly BatchItem<[how: string]>[]) {
      runs.push(items.map(({ args: [how], retries }) => `${how}${retries}`));
      for (const item of items) {
        const [how] = item.args;
        if (how === "fail") item.fail(new TypeError("no good"));
        if (how === "retry") item.retry({ countdown: 1, error: new Error("not yet") });
        if (how === "ignore") item.ignore();
      }
    },
  });
  await start();
  const results = await task.map(["fail", "retry", "ignore", "rest"].map((how) => [how]));
  const late = await task.applyAsync(["late"], null, { expires: 0.5 });
  const revoked = await task.delay("revoked");
  await clock.advance(100);
  await app.revoke([revoked.id]);
  await clock.advance(12_000);
  expect(runs).toEqual([["fail0", "retry0", "ignore0", "rest0"], ["retry1"]]);
  const states = await Promise.all([...results, late, revoked].map(async ({ id }) => (await document(app, id))?.["status"]));
  expect(states).toEqual(["FAILURE", "FAILURE", undefined, "SUCCESS", "REVOKED", "REVOKED"]);
  expect(await (await app.broker()).depth(["celery"])).toMatchObject(EMPTY);
});

test("callbacks are each call's own, and a key that cannot be made fails its call", async () => {
  const { app, clock, start } = room();
  const runs: { user: string; texts: string[] }[] = [];
  const task = digest(app, runs);
  const shout = app.task("shout", (text: string) => text.toUpperCase());
  app.task({ name: "keyless", aggregate: { key: (user: string) => user.trim() }, run: () => undefined });
  await start();
  const linked = await task.applyAsync(["ann", "hi"], null, { link: [shout.s()] });
  const keyless = await app.sendTask("keyless", [7]);
  await clock.advance(8000);
  const { children } = (await document(app, linked.id)) as { children: [[string, string], null][] };
  expect(await document(app, children[0]?.[0]?.[0] ?? "")).toMatchObject({ result: "ANN:HI" });
  await expect(keyless.get()).rejects.toThrow("trim");
});

test("a run that is interrupted by a stop is made again, with all of its calls", async () => {
  const { app, clock, start } = room({ shutdownGrace: 1 });
  const begun: string[][] = [];
  let isStuck = true;
  const task = app.task({
    name: "stuck",
    aggregate: { maxSize: 2, maxWait: "1s" },
    async run(_ctx, items: readonly BatchItem<[n: string]>[]) {
      begun.push(items.map(({ args: [n] }) => n));
      if (isStuck) await new Promise(() => undefined);
    },
  });
  const first = await start({ name: "one@test" });
  const results = await task.map([["a"], ["b"]]);
  await clock.advance(500);
  const stopped = first.stop();
  await clock.advance(10_000);
  await stopped;
  isStuck = false;
  await start({ name: "two@test" });
  await clock.advance(500);
  expect(begun).toEqual([["a", "b"], ["a", "b"]]); // prettier-ignore
  expect(await Promise.all(results.map((result) => result.get()))).toEqual([null, null]);
});

/** As if each worker that had it died. */
async function lose(app: Lovage, times: number): Promise<void> {
  const broker = await app.broker();
  for (let losses = 0; losses < times; losses++) {
    const [delivery] = await take(broker, ["celery"], 1);
    if (delivery === undefined) throw new Error("there is no message");
    await broker.settle([{ delivery, end: { kind: "requeue", to: "front", isLoss: true } }]);
  }
}

/** Folds calls and publishes their message, which no worker takes. @param more that it holds besides */
async function foldedTogether(task: ReturnType<typeof digest>, { app, clock, start, stop }: Room, more: string[] = []) {
  const worker = await start({ name: "one@test" });
  const results = await task.map([["ann", "1"], ["ann", "2"]]); // prettier-ignore
  await clock.advance(100);
  await stop(worker);
  const { aggregates } = await app.broker();
  const [group = ""] = (await aggregates?.due(Infinity, 1))?.groups ?? [];
  const taken = (await aggregates?.first(group, 10)) ?? [];
  const call = {
    id: "made",
    task: "digest",
    args: [...taken.map(String), ...more],
    kwargs: {},
    ignoreResult: true,
    headers: { lovage_aggregate: 2 },
  };
  const message = encodeTaskMessage(call, { serializer: "json", now: clock.now() });
  expect(await aggregates?.publish(group, taken, { message, exchange: "", routingKey: "celery" })).toBe(true);
  return results;
}

test("calls of a message that killed its workers fail, and the message is kept", async () => {
  const here = room({ taskDeadLetter: { queue: "graves" } });
  const { app, clock, start } = here;
  const runs: { user: string; texts: string[] }[] = [];
  const task = digest(app, runs);
  const results = await foldedTogether(task, here);
  await lose(app, app.settings.maxDeliveries);
  const worker = await start({ name: "two@test" });
  await clock.advance(100);
  expect(await Promise.all(results.map(async ({ id }) => (await document(app, id))?.["status"]))).toEqual(["FAILURE", "FAILURE"]);
  await expect(results[1]?.get()).rejects.toThrow(/the worker was lost \d+ times/);
  expect(runs).toEqual([]);
  const broker = await app.broker();
  expect(await broker.depth(["celery"])).toMatchObject([{ ready: 0, parked: 0, onLoan: 0, dead: 1 }]);
  expect(await broker.deadLetters?.get("celery", "made")).toMatchObject({ reason: "poison" });
  const told = await take(broker, ["graves"], 2);
  expect(told.map(idOf).toSorted()).toEqual(results.map(({ id }) => id).toSorted()); // each call, not what they became
  expect(await broker.depth(["graves"])).toMatchObject([{ ready: 0 }]);
  expect(worker.status()).toMatchObject({ running: 0, onLoan: 0 });
  expect(await broker.deadLetters?.restore("celery", "made")).toBe(true);
  await clock.advance(8000);
  expect(runs).toEqual([{ user: "ann", texts: ["1", "2"] }]);
});

test("calls of a message whose task nobody knows any more fail with it", async () => {
  const here = room();
  const { app, clock } = here;
  const results = await foldedTogether(digest(app, []), here);
  const { brokerUrl, resultBackend } = app.settings;
  const other = room({ brokerUrl, resultBackend }, clock);
  await other.start({ name: "two@test" });
  await clock.advance(15 * 60_000);
  expect(await Promise.all(results.map(async ({ id }) => (await document(app, id))?.["status"]))).toEqual(["FAILURE", "FAILURE"]);
  await expect(results[1]?.get()).rejects.toThrow("digest");
  expect(await (await app.broker()).depth(["celery"])).toMatchObject([{ ready: 0, parked: 0, dead: 1 }]);
});

test("calls beside something that is none fail with their message", async () => {
  const here = room();
  const { app, clock, start } = here;
  const runs: { user: string; texts: string[] }[] = [];
  const results = await foldedTogether(digest(app, runs), here, ["no envelope"]);
  await start({ name: "two@test" });
  await clock.advance(100);
  expect(await Promise.all(results.map(async ({ id }) => (await document(app, id))?.["status"]))).toEqual(["FAILURE", "FAILURE"]);
  expect(runs).toEqual([]);
  expect(await (await app.broker()).depth(["celery"])).toMatchObject(EMPTY);
});

test("a message of calls that is revoked before it runs takes them with it", async () => {
  const here = room();
  const { app, broker, clock, start } = here;
  const runs: { user: string; texts: string[] }[] = [];
  const results = await foldedTogether(digest(app, runs), here, []);
  const memory = await broker();
  const taken = await take(memory, ["celery"], 1, { worker: "hand" });
  expect(taken).toHaveLength(1);
  await settleAll(memory, taken, { kind: "putBack" });
  await app.revoke(taken.map(idOf));
  const worker = await start({ name: "two@test" });
  await clock.advance(100);
  expect(await Promise.all(results.map(async ({ id }) => (await document(app, id))?.["status"]))).toEqual(["REVOKED", "REVOKED"]);
  expect(runs).toEqual([]);
  expect(worker.status()).toMatchObject({ running: 0, onLoan: 0 });
  expect(await memory.depth(["celery"])).toMatchObject(EMPTY);
});

test("options are checked, and an eager call is a batch of one", async () => {
  const { app } = room();
  const runs: { user: string; texts: string[] }[] = [];
  expect(await (await digest(app, runs).apply(["ann", "now"])).get()).toBe("ann:now");
  expect(() => app.task({ name: "big", aggregate: { maxSize: 5000 }, run: () => undefined }).options).toThrow(
    /aggregate.maxSize of the task big is 5000/,
  );
  const both = { name: "both", aggregate: {}, batch: {}, run: () => undefined };
  expect(() => app.task(both as never)).toThrow(/has both batch and aggregate/);
});

for (const [what, status] of [
  ["stops", "FAILURE"],
  ["revokes it", "REVOKED"],
  ["loses it", undefined],
] as const)
  // prettier-ignore
  test(`early acks: a worker that ${what} while its message is acknowledged leaves no call without an end`, async () => {
    const { app, clock, broker, start, stop } = room();
    let runs = 0;
    const task = app.task({ name: "early", acksLate: false, aggregate: { maxSize: 2, maxWait: "1s" }, run: () => void runs++ });
    const worker = await start();
    const memory = await broker();
    const settle = memory.settle.bind(memory);
    let stopped: Promise<void> | undefined;
    memory.settle = async (settlements, options) => {
      memory.settle = settle;
      if (what === "stops") stopped = stop(worker);
      if (what === "revokes it") worker.revoke(String(settlements[0]?.delivery.open().message.headers["id"]));
      return what === "loses it" ? settlements.map(() => "lost" as const) : await settle(settlements, options);
    };
    const results = await task.map([[], []]);
    await clock.advance(5000);
    await stopped;
    expect(runs).toBe(0);
    expect(worker.status()).toMatchObject({ running: 0, onLoan: 0 });
    const documents = await Promise.all(results.map(async ({ id }) => (await document(app, id))?.["status"]));
    expect(documents).toEqual([status, status]);
  });
