/** Messages that were lost with a worker before: one at a time begins, and the broker hears of it first. */
import { expect, test } from "vitest";

import { settleAll, take } from "../../test/support/broker-hands.ts";
import { room } from "../../test/support/worker-room.ts";
import type { MemoryBroker } from "../brokers/memory/index.ts";

/** All that waits in the queue has been lost once. */
async function loseAll(broker: MemoryBroker, count: number): Promise<void> {
  const taken = await take(broker, ["celery"], count, { worker: "gone" });
  expect(taken).toHaveLength(count);
  await settleAll(broker, taken, { kind: "requeue", to: "front", isLoss: true });
}

test("they run one at a time, beside others", async () => {
  const { app, clock, broker, start, stop, sleep } = room();
  let suspects = 0;
  let most = 0;
  const work = app.task("shop.work", async (isSuspect: boolean) => {
    if (isSuspect) most = Math.max(most, ++suspects);
    await sleep(1000);
    if (isSuspect) suspects--;
  });
  for (let i = 0; i < 4; i++) await work.delay(true);
  await loseAll(await broker(), 4);
  const running = await start();
  for (let i = 0; i < 4; i++) await work.delay(false);
  await clock.advance(15_000);
  expect(running.status().processed).toBe(8);
  expect(most).toBe(1);
  await stop(running);
});

test("those that wait for their turn are not lost again with the one that has it", async () => {
  const { app, clock, broker, start } = room();
  const work = app.task("shop.work", async () => await new Promise(() => undefined));
  const sent = await Promise.all([work.delay(), work.delay(), work.delay()]);
  const memory = await broker();
  await loseAll(memory, 3);
  const running = await start();
  await clock.advance(100);
  expect(running.status()).toMatchObject({ running: 1, onLoan: 3 });
  const { renew } = memory.leases;
  const [lease] = await memory.leases.list();
  await memory.leases.renew(String(lease?.worker), 1);
  memory.leases.renew = () => Promise.reject(new Error("cut off"));
  await clock.advance(10);
  const report = await memory.leases.sweep({ maxDeliveries: 2, leaseMs: 1000, visibilityTimeoutMs: 3_600_000 });
  expect(report).toEqual({ returned: 2, deadLettered: 1, workers: [lease?.worker] });
  const letters = await memory.deadLetters.page("celery", { limit: 10 });
  expect(letters.entries).toMatchObject([{ id: sent[0]?.id, losses: 2 }]);
  memory.leases.renew = renew;
});

test("one of which it cannot be said that it begins is given back, and runs when it can", async () => {
  const { app, clock, broker, log, start, stop } = room();
  let runs = 0;
  const work = app.task("shop.work", () => void (runs += 1));
  await work.delay();
  const memory = await broker();
  await loseAll(memory, 1);
  const begin = memory.checkpoints.begin.bind(memory.checkpoints);
  let refusals = 0;
  memory.checkpoints.begin = async (delivery) => {
    expect(runs).toBe(0);
    if (++refusals < 3) throw new Error("not now");
    return await begin(delivery);
  };
  const running = await start();
  await clock.advance(1000);
  expect(log.filter((line) => line.includes("begins could not be said"))).toHaveLength(2);
  expect(runs).toBe(1);
  expect(running.status()).toMatchObject({ processed: 1, onLoan: 0 });
  await stop(running);
});

/** Workers are told that a message has begun when `answer` is called. */
async function slowBeginnings(memory: MemoryBroker): Promise<() => void> {
  let answer = (): void => {};
  const answered = new Promise<void>((resolve) => (answer = resolve));
  const begin = memory.checkpoints.begin.bind(memory.checkpoints);
  memory.checkpoints.begin = (delivery) => answered.then(() => begin(delivery));
  return answer;
}

test("one that is revoked while the broker hears that it begins does not run, and leaves the turn free", async () => {
  const { app, clock, broker, start } = room();
  const ran: string[] = [];
  const work = app.task("shop.work", (name: string) => void ran.push(name));
  const first = await work.delay("first");
  await work.delay("second");
  await loseAll(await broker(), 2);
  const answer = await slowBeginnings(await broker());
  const running = await start();
  await clock.advance(0);
  running.revoke(first.id);
  answer();
  await clock.advance(1000);
  expect(ran).toEqual(["second"]);
  expect(await first.state()).toBe("REVOKED");
  expect(running.status()).toMatchObject({ onLoan: 0 });
});

test("one whose worker stops while the broker hears that it begins does not run, and goes back uncounted", async () => {
  const { app, clock, broker, start } = room();
  let runs = 0;
  const work = app.task("shop.work", () => void (runs += 1));
  await work.delay();
  const memory = await broker();
  await loseAll(memory, 1);
  const answer = await slowBeginnings(memory);
  const running = await start();
  await clock.advance(0);
  const stopped = running.stop();
  await clock.advance(0);
  answer();
  await clock.advance(60_000);
  await stopped;
  expect(runs).toBe(0);
  const [left] = await take(memory, ["celery"], 1, { worker: "heir" });
  expect(left?.losses).toBe(1);
});

test("one whose slot was taken while the broker heard that it begins waits for the next, and is not put back", async () => {
  const { app, clock, broker, start, stop, sleep } = room({ workerPrefetchMultiplier: 3 });
  const ran: string[] = [];
  let most = 0;
  let now = 0;
  const work = app.task("shop.work", async (name: string) => {
    most = Math.max(most, ++now);
    await sleep(1000);
    now -= 1;
    ran.push(name);
  });
  await work.delay("suspect");
  const memory = await broker();
  await loseAll(memory, 1);
  const answer = await slowBeginnings(memory);
  const running = await start({ concurrency: 1 });
  await clock.advance(0);
  await work.delay("other");
  await clock.advance(100);
  expect(running.status()).toMatchObject({ running: 1, onLoan: 2 });
  const settle = memory.settle.bind(memory);
  let settled = 0;
  memory.settle = async (settlements, options) => {
    settled += settlements.length;
    return await settle(settlements, options);
  };
  answer();
  await clock.advance(100);
  expect(running.status()).toMatchObject({ running: 1, onLoan: 2 });
  expect(settled).toBe(0);
  await clock.advance(3000);
  expect([ran, most]).toEqual([["other", "suspect"], 1]);
  await stop(running);
});

test("one that runs has its slot: nothing more is taken than without it", async () => {
  const { app, clock, broker, start, stop } = room();
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  const work = app.task("shop.work", async () => await held);
  await work.delay();
  const memory = await broker();
  await loseAll(memory, 1);
  const running = await start({ concurrency: 1 });
  await clock.advance(0);
  for (let i = 0; i < 3; i++) await work.delay();
  await clock.advance(100);
  expect(running.status()).toMatchObject({ running: 1, onLoan: 1 });
  expect(await memory.depth(["celery"])).toMatchObject([{ ready: 3 }]);
  release();
  await clock.advance(100);
  expect(running.status()).toMatchObject({ processed: 4, onLoan: 0 });
  await stop(running);
});
