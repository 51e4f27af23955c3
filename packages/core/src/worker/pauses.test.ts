import { expect, test } from "vitest";

import type { Lovage } from "../app/app.ts";
import { CallError } from "../app/errors.ts";
import type { QueuePause } from "../brokers/queue-pauses.ts";
import { silentLogger } from "../shared/log.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { memoryApp } from "../testing/memory-app.ts";
import { Worker } from "./worker.ts";
import { KnownPauses } from "./pauses.ts";
import type { WorkerOptions } from "./worker-options.ts";

interface Room {
  readonly app: Lovage;
  readonly clock: FakeClock;
  readonly ran: string[];
  readonly log: string[];
  send(name: string, options?: { readonly countdown?: number; readonly queue?: string; readonly hold?: boolean }): Promise<void>;
  /** Lets what was sent with `hold` end. */
  release(): void;
  worker(options?: WorkerOptions): Promise<Worker>;
  depth(queue: string): Promise<{ readonly ready: number; readonly parked: number; readonly onLoan?: number }>;
}

function room(): Room {
  const clock = new FakeClock();
  const log: string[] = [];
  const note = (_: unknown, message: string): void => void log.push(message);
  const logger = { debug: note, info: note, warn: note, error: note, child: () => logger };
  const app = memoryApp({ clock, random: () => 0.5, logger });
  const ran: string[] = [];
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  const work = app.task("work", async (name: string, hold: boolean) => {
    ran.push(name);
    if (hold) await held;
  });
  return {
    app,
    clock,
    ran,
    log,
    release,
    send: async (name, { countdown, queue = "mail", hold = false } = {}) =>
      void (await work.applyAsync([name, hold], undefined, { queue, ...(countdown !== undefined && { countdown }) })),
    async worker(options) {
      const worker = new Worker(app, { name: "w@test", queues: ["mail", "other"], ...options });
      await worker.start();
      return worker;
    },
    depth: async (queue) => (await (await app.broker()).depth([queue]))[0]!,
  };
}

async function end(worker: Worker, clock: FakeClock): Promise<void> {
  const stopped = worker.stop();
  await clock.advance(30_000);
  await stopped;
}

test("a paused queue: what runs goes on, what waits goes back, what comes stays, and all of it runs once it goes on", async () => {
  const { app, clock, ran, log, send, release, worker, depth } = room();
  const running = await worker({ concurrency: 1 });
  await send("runs", { hold: true });
  await clock.advance(0);
  await send("near", { countdown: 5 });
  await clock.advance(0);
  await app.queues.pause("mail", { reason: "the provider is down", by: "ann" });
  await clock.advance(10);
  expect(running.status().paused).toEqual([
    { queue: "mail", reason: "the provider is down", by: "ann", at: expect.any(Number), until: undefined },
  ]);
  expect(log).toContain("the queue mail is paused by ann: the provider is down");
  await send("later");
  await send("other", { queue: "other" });
  release();
  await clock.advance(10_000);
  expect(ran).toEqual(["runs", "other"]);
  expect(await depth("mail")).toMatchObject({ ready: 2, parked: 0, onLoan: 0 });
  expect(await app.queues.resume(["mail", "none"])).toEqual(["mail"]);
  await clock.advance(10);
  expect(ran.toSorted()).toEqual(["later", "near", "other", "runs"]);
  expect(running.status().paused).toEqual([]);
  await end(running, clock);
});

test("a message that waits in memory for its time goes back when its queue is paused, and no attempt is counted", async () => {
  const { app, clock, ran, send, worker, depth } = room();
  const running = await worker();
  await send("near", { countdown: 5 });
  await clock.advance(0);
  expect(running.status().scheduled).toBe(1);
  await app.queues.pause(["mail"]);
  await clock.advance(10);
  expect(running.status().scheduled).toBe(0);
  expect(await depth("mail")).toMatchObject({ ready: 1, onLoan: 0 });
  await clock.advance(6000);
  expect(ran).toEqual([]);
  await app.queues.resume("mail");
  await clock.advance(10);
  expect(ran).toEqual(["near"]);
  await end(running, clock);
});

test.each([
  ["its own rate", { rateLimit: "1/s" }],
  ["a limit for all workers", { limit: { rate: "1/s" } }],
])("what waits for %s goes back when its queue is paused, and runs once it goes on", async (_, options) => {
  const { app, clock, worker, depth } = room();
  const ran: number[] = [];
  const limited = app.task("limited", { ...options, queue: "mail" }, (number: number) => void ran.push(number));
  const running = await worker();
  for (const number of [1, 2, 3]) await limited.delay(number);
  await clock.advance(10);
  expect(ran).toEqual([1]);
  await app.queues.pause("mail");
  await clock.advance(10_000);
  expect(ran).toEqual([1]);
  expect((await depth("mail")).onLoan).toBe(0);
  await app.queues.resume("mail");
  await clock.advance(10_000);
  expect(ran).toHaveLength(3);
  expect(new Set(ran)).toEqual(new Set([1, 2, 3]));
  await end(running, clock);
});

test("what is parked stays parked, and once due stays in its paused queue", async () => {
  const { app, clock, ran, send, worker, depth } = room();
  const running = await worker();
  await send("far", { countdown: 60 });
  await clock.advance(0);
  expect(await depth("mail")).toMatchObject({ parked: 1 });
  await app.queues.pause("mail");
  await clock.advance(1000);
  expect(await depth("mail")).toMatchObject({ parked: 1, ready: 0 });
  await clock.advance(120_000);
  expect(await depth("mail")).toMatchObject({ parked: 0, ready: 1 });
  expect(ran).toEqual([]);
  await app.queues.resume("mail");
  await clock.advance(10);
  expect(ran).toEqual(["far"]);
  await end(running, clock);
});

test("a pause with an end is over then, and a worker that starts meanwhile heeds it", async () => {
  const { app, clock, ran, send, worker } = room();
  await app.queues.pause("mail", { for: "90s" });
  const running = await worker();
  await send("one");
  await clock.advance(89_000);
  expect(ran).toEqual([]);
  await clock.advance(1100);
  expect(ran).toEqual(["one"]);
  expect(running.status().paused).toEqual([]);
  expect(await app.queues.paused()).toEqual([]);
  await end(running, clock);
});

test("a pause with an end is over then although the broker cannot be asked", async () => {
  const { app, clock, ran, send, worker } = room();
  const { pauses } = await app.broker();
  const running = await worker();
  await app.queues.pause("mail", { for: "95s" });
  await send("one");
  await clock.advance(10);
  Object.assign(pauses ?? {}, { list: () => Promise.reject(new Error("away")) });
  await clock.advance(94_900);
  expect(ran).toEqual([]);
  await clock.advance(200);
  expect(ran).toEqual(["one"]);
  expect(running.status().paused).toEqual([]);
  await end(running, clock);
});

test("the queues of others are none of this worker's business", async () => {
  const { app, clock, ran, send, worker } = room();
  await app.queues.pause(["elsewhere"], { by: "ann" });
  const running = await worker();
  await send("one");
  await clock.advance(0);
  expect(ran).toEqual(["one"]);
  expect(running.status().paused).toEqual([]);
  expect(await app.queues.paused()).toMatchObject([{ queue: "elsewhere", by: "ann", reason: "" }]);
  await end(running, clock);
});

test.each([
  [[], {}, /takes names of queues/],
  ["", {}, /takes names of queues/],
  ["q", { for: 5, until: new Date() }, /not both/],
  ["q", { for: "soon" as "1s" }, /`for` of pause\(\) takes/],
  ["q", { until: new Date(Number.NaN) }, /a valid Date/],
  ["q", { until: new Date(0) }, /not in the future/],
  ["q", { reason: "x".repeat(501) }, /at most 500 characters/],
])("a pause of %j with %j is refused", async (queues, options, message) => {
  const { app } = room();
  const refused = await app.queues.pause(queues, options).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(CallError);
  expect((refused as Error).message).toMatch(message);
});

test("a change that is told while the broker is being read is read too, however many are told", async () => {
  const clock = new FakeClock();
  const answers: ((pauses: readonly QueuePause[]) => void)[] = [];
  let changed = (): void => undefined;
  const unused = (): never => {
    throw new Error("not in this test");
  };
  const store = {
    pause: unused,
    resume: unused,
    list: () => new Promise<readonly QueuePause[]>((resolve) => answers.push(resolve)),
    watch: (_: unknown, told: () => void) => void (changed = told),
  };
  const brokerNow = (): number => clock.now();
  const pauses = new KnownPauses({ store, queues: ["q"], clock, random: () => 0.5, logger: silentLogger, brokerNow });
  const pause: QueuePause = { queue: "q", reason: "", by: "ann", at: 0, until: undefined };
  const loaded = pauses.load();
  answers[0]?.([]);
  await loaded;
  changed(); // is read
  changed(); // comes when that was sent
  changed();
  expect(answers).toHaveLength(2);
  answers[1]?.([]);
  await clock.advance(0);
  expect(answers).toHaveLength(3);
  answers[2]?.([pause]);
  await clock.advance(0);
  expect([pauses.has("q"), answers.length]).toEqual([true, 3]);
  pauses.stop();
  expect(clock.pendingTimers).toBe(0);
});
