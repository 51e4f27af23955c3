/** How a worker stops, and what becomes of what it has. */
import { expect, test, vi } from "vitest";

import { document, room } from "../../test/support/worker-room.ts";
import type { Lovage } from "../app/app.ts";
import { ControlAgent } from "./control/agent.ts";
import { WorkerStoppedWhileStarting } from "./errors.ts";
import { WorkerStoppedError } from "./outcome.ts";
import { Settler } from "./settle.ts";
import { Worker } from "./worker.ts";

test("a warm stop takes nothing more, waits for what runs, gives back what waits, and releases the lease", async () => {
  const { app, clock, broker, start } = room({ workerPrefetchMultiplier: 3 });
  const ran: string[] = [];
  const slow = app.task("shop.slow", async (name: string) => {
    await new Promise<void>((resolve) => void clock.timer(5000, resolve));
    ran.push(name);
  });
  await slow.applyAsync(["later"], null, { countdown: 9 });
  for (const name of ["a", "b", "c"]) await slow.delay(name);
  const running = await start({ concurrency: 1 });
  await clock.advance(100);
  expect(running.status()).toMatchObject({ running: 1, waiting: 2, scheduled: 1 });
  const stopped = running.stop();
  await clock.advance(0);
  const memory = await broker();
  expect(running.status().state).toBe("warm");
  expect(await memory.depth(["celery"])).toMatchObject([{ ready: 3, onLoan: 1 }]);
  await slow.delay("d");
  await clock.advance(5000);
  await stopped;
  await running.finished;
  expect(ran).toEqual(["a"]);
  expect(await memory.depth(["celery"])).toMatchObject([{ ready: 4, onLoan: 0 }]);
  expect(await memory.leases.list()).toEqual([]);
  expect(clock.pendingTimers).toBe(0);
  const second = await start({ concurrency: 1 });
  await clock.advance(40_000);
  expect(ran).toEqual(["a", "b", "c", "d", "later"]); // in the order in which they were before
  const end = second.stop();
  await clock.advance(0);
  await end;
});

test("after its grace a stop aborts what runs; what heeds that is done or goes back, and so does what does not", async () => {
  const { app, clock, broker, start } = room({ shutdownGrace: 10 });
  const outcomes: string[] = [];
  const saves = app.task({
    name: "shop.saves",
    run: (ctx) => new Promise((resolve) => ctx.signal.addEventListener("abort", () => resolve("saved in time"))),
  });
  const gives = app.task({
    name: "shop.gives",
    run: (ctx) =>
      new Promise((_, reject) =>
        ctx.signal.addEventListener("abort", () => {
          outcomes.push(ctx.signal.reason instanceof WorkerStoppedError ? "told" : "not told");
          reject(ctx.signal.reason as Error);
        }),
      ),
  });
  const deaf = app.task("shop.deaf", () => new Promise(() => undefined));
  const deafEarly = app.task("shop.deafEarly", { acksLate: false }, () => new Promise(() => undefined));
  const running = await start();
  const results = [await saves.delay(), await gives.delay(), await deaf.delay(), await deafEarly.delay()];
  await clock.advance(100);
  const stopped = running.stop();
  await clock.advance(9999);
  expect(running.status().state).toBe("warm");
  await clock.advance(1);
  expect(running.status().state).toBe("cold");
  await clock.advance(2000);
  await stopped;
  expect(outcomes).toEqual(["told"]);
  const documents = await Promise.all(results.map((result) => document(app, result.id)));
  expect(documents).toMatchObject([
    { status: "SUCCESS", result: "saved in time" },
    undefined,
    undefined,
    { status: "FAILURE", result: { exc_type: "WorkerLostError" } },
  ]);
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ ready: 2, onLoan: 0 }]);
});

test("a second stop does not wait for the grace", async () => {
  const { app, clock, broker, start } = room();
  const waits = app.task({
    name: "shop.waits",
    run: (ctx) => new Promise((_, reject) => ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason as Error))),
  });
  const running = await start();
  await waits.delay();
  await clock.advance(100);
  void running.stop();
  await clock.advance(1000);
  expect(running.status().running).toBe(1);
  const stopped = running.stop();
  await clock.advance(0);
  await stopped;
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ ready: 1, onLoan: 0 }]);
});

/** Runs until its signal aborts, and then goes back. */
function waitsForItsSignal(app: Lovage, name = "shop.waits") {
  return app.task({
    name,
    run: (ctx) => new Promise((_, reject) => ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason as Error))),
  });
}

test("a soft stop waits for as long as Celery's setting says, and a second one in a warm stop leads there", async () => {
  const { app, clock, start } = room({ workerSoftShutdownTimeout: 3, shutdownGrace: 20 });
  const waits = waitsForItsSignal(app);
  for (const first of ["soft", "warm"] as const) {
    const states: string[] = [];
    const running = await start({ onState: (state) => states.push(state) });
    await waits.delay();
    await clock.advance(100);
    const stopped = running.stop(first);
    if (first === "warm") void running.stop();
    await clock.advance(2999);
    expect(running.status()).toMatchObject({ state: "soft", running: 1 });
    await clock.advance(1);
    await stopped;
    expect(states).toEqual(["starting", "running", ...(first === "warm" ? ["warm"] : []), "soft", "cold", "stopped"]);
    await (await app.broker()).purge("celery");
  }
});

test("what hurries a stop never makes it longer: a soft one ends with the grace of the warm one before", async () => {
  const { app, clock, start } = room({ workerSoftShutdownTimeout: 60, shutdownGrace: 10 });
  const running = await start();
  await waitsForItsSignal(app).delay();
  await clock.advance(100);
  const stopped = running.stop();
  await clock.advance(9000);
  void running.stop("soft");
  await clock.advance(999);
  expect(running.status().state).toBe("soft");
  await clock.advance(1);
  await stopped;
});

test("without Celery's setting a soft stop is a cold one, and with its other one it waits although nothing runs", async () => {
  const { clock, start } = room();
  const cold = await start();
  const stopped = cold.stop("soft");
  expect(cold.status().state).toBe("cold");
  await clock.advance(0);
  await stopped;
  const idle = room({ workerSoftShutdownTimeout: 5, workerEnableSoftShutdownOnIdle: true });
  const waiting = await idle.start();
  const end = waiting.stop("soft");
  await idle.clock.advance(4999);
  expect(waiting.status().state).toBe("soft");
  await idle.clock.advance(1);
  await end;
});

test("a stop does not wait for children that are still starting", async () => {
  const { app } = room();
  let worker: Worker | undefined;
  app.onChildStart(() => new Promise(() => undefined));
  app.onWorkerStart(() => void setImmediate(() => void worker?.stop()));
  worker = new Worker(app, { name: "w@test" });
  await expect(worker.start()).rejects.toThrow(WorkerStoppedWhileStarting);
  await worker.finished;
  expect(worker.status().state).toBe("stopped");
});

test("a step of a stop that fails ends none of those after it, and is what the worker's end rejects with", async () => {
  const { app, clock, broker, start, log } = room();
  app.task("shop.add", () => 1);
  const calls: string[] = [];
  app.onWorkerStop(() => calls.push("stop"));
  const running = await start();
  const memory = await broker();
  const fails = (name: string) => (): never => {
    throw new Error(name);
  };
  vi.spyOn(Settler.prototype, "whenIdle").mockImplementationOnce(fails("not settled"));
  vi.spyOn(ControlAgent.prototype, "stop").mockImplementationOnce(fails("not controlled"));
  const stopped = running.stop();
  await clock.advance(60_000);
  await stopped;
  await expect(running.finished).rejects.toThrow("not settled");
  expect(running.status().state).toBe("stopped");
  expect(await memory.leases.list()).toEqual([]);
  expect(calls).toEqual(["stop"]);
  expect(log.filter((line) => line.includes("could not stop as it should"))).toEqual([
    "error w@test could not stop as it should: not settled",
    "error w@test could not stop as it should: not controlled",
  ]);
  expect(clock.pendingTimers).toBe(0);
});
