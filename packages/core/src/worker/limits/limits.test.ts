/** Limits for all workers, on a broker in memory and a clock that is turned by hand. */
import { expect, test } from "vitest";

import type { Lovage, LovageOptions } from "../../app/app.ts";
import type { MemoryBroker } from "../../brokers/memory/index.ts";
import { sleep } from "../../shared/clock.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { memoryApp } from "../../testing/memory-app.ts";
import type { WorkerOptions } from "../worker-options.ts";
import { Worker } from "../worker.ts";

function room(options: LovageOptions = {}) {
  const clock = new FakeClock();
  const app = memoryApp({ clock, random: () => 0.5, ...options });
  const workers: Worker[] = [];
  return {
    app,
    clock,
    broker: async () => (await app.broker()) as MemoryBroker,
    async worker(name: string, workerOptions: WorkerOptions = {}) {
      const worker = new Worker(app, { name, ...workerOptions });
      workers.push(worker);
      await worker.start();
      return worker;
    },
    async stop(worker: Worker) {
      workers.splice(workers.indexOf(worker), 1);
      const stopped = worker.stop();
      await clock.advance(30_000);
      await stopped;
    },
    async [Symbol.asyncDispose]() {
      const stopped = Promise.all(workers.map((each) => each.stop()));
      await clock.advance(30_000);
      await stopped;
      await app.close();
    },
  };
}

const depth = async (app: Lovage, queue = "celery") => (await (await app.broker()).depth([queue]))[0];

test("a rate holds for all workers together, and what waits holds neither slot nor loan", async () => {
  await using one = room();
  const at: number[] = [];
  const limited = one.app.task("shop.limited", { limit: { rate: "10/s" } }, () => void at.push(one.clock.monotonic()));
  const free = one.app.task("shop.free", () => one.clock.monotonic());
  const workers = [await one.worker("a@x", { concurrency: 2 }), await one.worker("b@x", { concurrency: 2 })];
  for (let i = 0; i < 50; i++) await limited.delay();
  const other = await free.delay();
  await one.clock.advance(300);
  expect(await other.state()).toBe("SUCCESS");
  for (const worker of workers) expect(worker.status()).toMatchObject({ running: 0, waiting: 0 });
  expect((await depth(one.app))?.parked).toBeGreaterThan(35);
  await one.clock.advance(5200);
  expect(at).toHaveLength(50);
  const gaps = at.slice(1).map((time, i) => time - (at[i] as number));
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(99);
  expect(at.at(-1)).toBeLessThanOrEqual(4950);
  expect(workers.map((worker) => worker.status().onLoan)).toEqual([0, 0]);
});

test("so many at once, whichever worker runs them, and the next starts as soon as one has ended", async () => {
  await using one = room();
  let running = 0;
  let most = 0;
  const done: number[] = [];
  const limited = one.app.task("shop.limited", { limit: { concurrency: 3 } }, async () => {
    most = Math.max(most, ++running);
    await sleep(one.clock, 100);
    running -= 1;
    done.push(one.clock.monotonic());
  });
  await one.worker("a@x", { concurrency: 4 });
  await one.worker("b@x", { concurrency: 4 });
  for (let i = 0; i < 30; i++) await limited.delay();
  await one.clock.advance(1100);
  expect(most).toBe(3);
  expect(done).toHaveLength(30);
  expect(await one.app.limits.list()).toMatchObject([{ name: "task:shop.limited", concurrency: 3, waiting: 0, running: 0 }]);
});

test("every key has the limit for itself: from arguments, from a header, from the call", async () => {
  await using one = room();
  const starts: string[] = [];
  const note = (name: string): void => void starts.push(`${name} ${one.clock.monotonic()}`);
  const byArgument = one.app.task("by.argument", { limit: { rate: 1, key: (tenant: string) => tenant } }, (tenant: string) => note(tenant));
  const byHeader = one.app.task("by.header", { limit: { rate: 1, key: "tenant" } }, (name: string) => note(name));
  await one.worker("a@x");
  for (const tenant of ["one", "two", "one"]) await byArgument.delay(tenant);
  await byHeader.applyAsync(["three"], null, { headers: { tenant: 7 } });
  await byHeader.applyAsync(["four"], null, { headers: { tenant: 7 } });
  await byHeader.applyAsync(["five"], null, { headers: { tenant: 7 }, limitKey: "mine" });
  await byArgument.s("one").set({ limitKey: "six" }).delay();
  await one.clock.advance(100);
  expect(starts.toSorted()).toEqual(["five 0", "one 0", "one 0", "three 0", "two 0"]);
  await one.clock.advance(1000);
  expect(new Set(starts.slice(5).map((each) => each.split(" ")[0]))).toEqual(new Set(["four", "one"]));
  expect(await one.app.limits.list()).toContainEqual(
    expect.objectContaining({ name: "task:by.argument", ratePerSecond: 1, key: undefined }),
  );
});

test("a queue's limit counts all its tasks, also under a limit of their own, and another queue is free", async () => {
  await using one = room({ queueLimits: { mail: { rate: "2/s" } } });
  const at: string[] = [];
  const first = one.app.task("mail.first", { queue: "mail" }, () => void at.push(`first ${one.clock.monotonic()}`));
  const second = one.app.task(
    "mail.second",
    { queue: "mail", limit: { concurrency: 5 } },
    () => void at.push(`second ${one.clock.monotonic()}`),
  );
  const free = one.app.task("free", () => void at.push(`free ${one.clock.monotonic()}`));
  await one.worker("a@x", { queues: ["mail", "celery"] });
  for (let i = 0; i < 2; i++) {
    await first.delay();
    await second.delay();
    await free.delay();
  }
  await one.clock.advance(2000);
  expect(at).toHaveLength(6);
  expect(at.filter((each) => each.startsWith("free"))).toEqual(["free 0", "free 0"]);
  expect(at.filter((each) => !each.startsWith("free")).map((each) => Number(each.split(" ")[1]))).toEqual([0, 500, 1000, 1500]);
});

test("a limit is changed, set and cleared while workers run, and holds at once for what waits", async () => {
  await using one = room();
  const at: number[] = [];
  const limited = one.app.task("shop.limited", { limit: { rate: "1/m" } }, () => void at.push(one.clock.monotonic()));
  const free = one.app.task("shop.free", () => void at.push(-1));
  await one.worker("a@x");
  for (let i = 0; i < 6; i++) await limited.delay();
  await one.clock.advance(3000);
  expect(at).toEqual([0]);
  await one.app.limits.set("task:shop.limited", { rate: "2/s", burst: 2 });
  await one.clock.advance(1000);
  expect(at.length).toBeGreaterThanOrEqual(3);
  expect(await one.app.limits.list()).toMatchObject([{ name: "task:shop.limited", ratePerSecond: 2, burst: 2, isSet: true }]);
  await one.app.limits.set("task:shop.limited", null);
  await one.clock.advance(300);
  expect(at).toHaveLength(6);
  await one.app.limits.clear("task:shop.limited");
  expect(await one.app.limits.list()).toMatchObject([{ name: "task:shop.limited", ratePerSecond: 1 / 60, isSet: false }]);
  at.length = 0;
  await one.app.limits.set("task:shop.free", { concurrency: 0 });
  await one.clock.advance(10);
  await free.delay();
  await one.clock.advance(1000);
  expect(at).toEqual([]);
  expect(await one.app.limits.list()).toContainEqual(expect.objectContaining({ name: "task:shop.free", waiting: 1 }));
  await one.app.limits.clear("task:shop.free");
  await one.clock.advance(1000);
  expect(at).toEqual([-1]);
  await expect(one.app.limits.set("x", { rate: 0 })).rejects.toThrow("the limit x is not accepted: `rate` takes a number per second");
  await expect(one.app.limits.set("", { rate: 1 })).rejects.toThrow("no name of a limit");
});

test("a name that no limit has is refused, because nothing would be under it", async () => {
  await using one = room({ queueLimits: { mail: { rate: "2/s" } } });
  const { limits } = one.app;
  one.app.task("shop.sync", { limit: { name: "crm", rate: "1/s" } }, () => undefined);
  one.app.task("shop.free", () => undefined);
  one.app.task("shop.broken", { limit: { rate: "often" } }, () => undefined);
  const unknown = 'there is no limit cmr: known are crm, queue:mail. Did you mean "crm"?';
  await expect(limits.hold("cmr", "30s")).rejects.toThrow(unknown);
  await expect(limits.set("cmr", { rate: "1/s" })).rejects.toThrow(unknown);
  await expect(limits.clear("cmr")).rejects.toThrow(unknown);
  await expect(limits.hold("task:shop.free", "30s")).rejects.toThrow("there is no limit task:shop.free");
  expect(await limits.list()).toEqual([]);
  await limits.hold("crm", "30s");
  await limits.hold("queue:mail", "30s");
  await limits.set("task:shop.free", { concurrency: 4 }); // any task or queue can be given one by hand
  await limits.hold("task:shop.free", "30s");
  await limits.clear("task:elsewhere");
  await using other = room();
  await expect(other.app.limits.hold("crm", 1)).rejects.toThrow("neither this app nor a worker that has started has any");
});

test("a task that met a 429 holds back all of its key without an attempt, and no other key", async () => {
  await using one = room();
  const runs: string[] = [];
  let isRefused = true;
  const call = one.app.task({
    name: "api.call",
    limit: { name: "api", key: (customer: string) => customer },
    run(ctx, customer: string) {
      runs.push(`${customer} ${one.clock.monotonic()} ${ctx.retries}`);
      if (customer === "a" && isRefused) {
        isRefused = false;
        ctx.snooze("2s", { holdLimit: true });
      }
    },
  });
  await one.worker("a@x", { concurrency: 1 });
  await call.delay("a");
  await one.clock.advance(10);
  await call.delay("a");
  await call.delay("b");
  await one.clock.advance(1900);
  expect(runs).toEqual(["a 0 0", "b 10 0"]);
  await one.clock.advance(2000);
  expect(runs.slice(2).map((each) => each.split(" "))).toEqual([
    ["a", expect.any(String), "0"],
    ["a", expect.any(String), "0"],
  ]);
  for (const run of runs.slice(2)) expect(Number(run.split(" ")[1])).toBeGreaterThanOrEqual(2000);
});

test("what waits and is revoked, expired or purged uses up no start", async () => {
  await using one = room();
  const at: string[] = [];
  const limited = one.app.task("shop.limited", { limit: { rate: 1 } }, (name: string) => void at.push(`${name} ${one.clock.monotonic()}`));
  await one.worker("a@x");
  await limited.delay("first");
  const revoked = await limited.delay("revoked");
  const expired = await limited.applyAsync(["expired"], null, { expires: "500ms" });
  await limited.delay("last");
  await one.clock.advance(100);
  await one.app.revoke([revoked.id]);
  await one.clock.advance(2400);
  expect(at.map((each) => each.split(" ")[0])).toEqual(["first", "last"]);
  expect(Number(at[1]?.split(" ")[1])).toBeLessThanOrEqual(1200);
  expect(await revoked.state()).toBe("REVOKED");
  expect(await expired.state()).toBe("REVOKED");
  for (let i = 0; i < 100; i++) await limited.delay("purged");
  await one.clock.advance(100);
  const broker = await one.broker();
  expect(await broker.purge("celery")).toBeGreaterThan(95);
  expect(await depth(one.app)).toMatchObject({ ready: 0, parked: 0 });
  await one.clock.advance(2000);
  at.length = 0;
  const now = one.clock.monotonic();
  await limited.delay("new");
  await one.clock.advance(1000);
  expect(Number(at[0]?.split(" ")[1]) - now).toBeLessThanOrEqual(1);
});

test("a worker that stops gives places back, and those that waited go to others", async () => {
  await using one = room();
  const ended: string[] = [];
  const limited = one.app.task("shop.limited", { limit: { concurrency: 1 } }, async (name: string) => {
    await sleep(one.clock, 50);
    ended.push(name);
  });
  const first = await one.worker("a@x", { concurrency: 1 });
  for (const name of ["a", "b", "c"]) await limited.delay(name);
  await one.clock.advance(10);
  const stopping = one.stop(first);
  await one.worker("b@x", { concurrency: 1 });
  await stopping;
  await one.clock.advance(5000);
  expect(ended).toEqual(["a", "b", "c"]);
  expect(await one.app.limits.list()).toMatchObject([{ waiting: 0, running: 0 }]);
});

test("an early ack frees its place at the end of the body, and a failed body too", async () => {
  await using one = room();
  let runs = 0;
  const limited = one.app.task("shop.limited", { acksLate: false, maxRetries: 0, limit: { concurrency: 1 } }, async () => {
    runs += 1;
    await sleep(one.clock, 50);
    throw new Error("no");
  });
  await one.worker("a@x", { concurrency: 4 });
  for (let i = 0; i < 4; i++) await limited.delay();
  await one.clock.advance(120);
  expect(runs).toBe(3);
  await one.clock.advance(500);
  expect(runs).toBe(4);
  expect(await one.app.limits.list()).toMatchObject([{ waiting: 0, running: 0 }]);
});

test("tasks whose limit could not be asked for run when it can be", async () => {
  await using one = room();
  let runs = 0;
  const limited = one.app.task("shop.limited", { limit: { concurrency: 1 } }, () => void runs++);
  const worker = await one.worker("a@x", { concurrency: 4 });
  const { limits } = await one.broker();
  const admit = limits.admit.bind(limits);
  Object.assign(limits, { admit: () => Promise.reject(new Error("no answer")) });
  await limited.delay();
  await one.clock.advance(50);
  expect(runs).toBe(0);
  Object.assign(limits, { admit });
  await one.clock.advance(60_000);
  expect(runs).toBe(1);
  expect(worker.status()).toMatchObject({ onLoan: 0, waiting: 0 });
});

test("limits of the same name are one, and two that differ in their numbers are refused", async () => {
  await using one = room();
  const at: number[] = [];
  const run = (): void => void at.push(one.clock.monotonic());
  const a = one.app.task("api.a", { limit: { name: "api", rate: "2/s" } }, run);
  const b = one.app.task("api.b", { limit: { name: "api" } }, run);
  await one.worker("a@x");
  for (let i = 0; i < 2; i++) {
    await a.delay();
    await b.delay();
  }
  await one.clock.advance(3000);
  expect(at).toEqual([0, 500, 1000, 1500]);
  one.app.task("api.c", { limit: { name: "api", rate: "3/s" } }, run);
  await expect(one.worker("b@x")).rejects.toThrow("the limit api has other numbers in the task api.c than in the task api.a");
});

test("the only limit there is, set by hand, is cleared: what waits goes on", async () => {
  await using one = room();
  const at: number[] = [];
  const free = one.app.task("shop.free", () => void at.push(one.clock.monotonic()));
  await one.worker("a@x");
  await one.app.limits.set("task:shop.free", { concurrency: 0 });
  await one.clock.advance(10);
  await free.delay();
  await one.clock.advance(1000);
  expect(at).toEqual([]);
  await one.app.limits.clear("task:shop.free");
  await one.clock.advance(1000);
  expect(at).toHaveLength(1);
});

test("what waits under a limit that is cleared while no worker is there goes on when one comes", async () => {
  await using one = room();
  const at: number[] = [];
  const free = one.app.task("shop.free", () => void at.push(one.clock.monotonic()));
  await one.app.limits.set("task:shop.free", { concurrency: 0 });
  const first = await one.worker("a@x");
  await free.delay();
  await one.clock.advance(1000);
  await one.stop(first);
  await one.app.limits.clear("task:shop.free");
  await one.worker("b@x");
  await one.clock.advance(1000);
  expect(at).toHaveLength(1);
});
