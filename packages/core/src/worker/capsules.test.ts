import { expect, test } from "vitest";

import { ConfigurationError, SettingError } from "../app/errors.ts";
import type { Lovage, LovageOptions } from "../app/app.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { memoryApp } from "../testing/memory-app.ts";
import { planCapsules } from "./capsule-plan.ts";
import type { WorkerOptions } from "./worker-options.ts";
import { Worker } from "./worker.ts";

interface Hall {
  readonly app: Lovage;
  readonly clock: FakeClock;
  /** What began, by queue and number. */
  readonly began: string[];
  send(queue: string, count: number): Promise<void>;
  /** Ends what runs of a queue. */
  end(queue: string): Promise<void>;
  worker(options: WorkerOptions): Promise<Worker>;
  stop(worker: Worker): Promise<void>;
}

function hall(settings: LovageOptions = {}): Hall {
  const clock = new FakeClock();
  const app = memoryApp({ clock, random: () => 0.5, taskQueues: ["bulk", "mail", "pdf"], ...settings });
  const began: string[] = [];
  const running = new Map<string, (() => void)[]>();
  const work = app.task("work", async (queue: string, number: number) => {
    began.push(`${queue}${number}`);
    await new Promise<void>((resolve) => running.set(queue, [...(running.get(queue) ?? []), resolve]));
  });
  return {
    app,
    clock,
    began,
    async send(queue, count) {
      for (let number = 0; number < count; number++) await work.applyAsync([queue, number], undefined, { queue });
      await clock.advance(0);
    },
    async end(queue) {
      const ends = running.get(queue) ?? [];
      running.delete(queue);
      for (const resolve of ends) resolve();
      await clock.advance(10);
    },
    async worker(options) {
      const worker = new Worker(app, { name: "w@test", ...options });
      await worker.start();
      return worker;
    },
    async stop(worker) {
      const stopped = worker.stop();
      await clock.advance(30_000);
      await stopped;
    },
  };
}

const of = (began: readonly string[], queue: string): number => began.filter((name) => name.startsWith(queue)).length;

test("each capsule keeps its own concurrency, and a full one holds up no other", async () => {
  const { began, send, end, worker, stop } = hall();
  const running = await worker({
    concurrency: 3,
    capsules: { pdf: { queues: "pdf", concurrency: 1 }, post: { queues: ["mail"], concurrency: 2 } },
  });
  for (const queue of ["bulk", "mail", "pdf"]) await send(queue, 10);
  expect([of(began, "bulk"), of(began, "mail"), of(began, "pdf")]).toEqual([3, 2, 1]);
  expect(running.status()).toMatchObject({
    slots: 6,
    running: 6,
    consuming: true,
    capsules: [
      { name: "default", queues: ["bulk"], slots: 3, running: 3 },
      { name: "pdf", queues: ["pdf"], slots: 1, running: 1 },
      { name: "post", queues: ["mail"], slots: 2, running: 2 },
    ],
  });
  await end("pdf");
  expect([of(began, "bulk"), of(began, "mail"), of(began, "pdf")]).toEqual([3, 2, 2]);
  await end("mail");
  await end("mail");
  expect([of(began, "bulk"), of(began, "mail"), of(began, "pdf")]).toEqual([3, 6, 2]);
  await stop(running);
  expect(running.status()).toMatchObject({ state: "stopped", running: 0, onLoan: 0 });
});

test("from settings; a worker all of whose queues are in capsules has no other", async () => {
  const { began, send, worker, stop } = hall({
    workerCapsules: { all: { queues: ["bulk", "mail", "pdf"], concurrency: 4, queueOrder: "strict" } },
  });
  const running = await worker({});
  expect(running.status().capsules.map(({ name }) => name)).toEqual(["all"]);
  for (const queue of ["bulk", "mail", "pdf"]) await send(queue, 3);
  expect(running.status().running).toBe(4);
  expect(of(began, "bulk")).toBe(3);
  await stop(running);
});

test("quiet, resume and a pause hold for all capsules", async () => {
  const { app, clock, began, send, worker, stop } = hall();
  const running = await worker({ capsules: { pdf: { queues: ["pdf"], concurrency: 5 } } });
  await running.quiet();
  await send("pdf", 1);
  await send("bulk", 1);
  expect(began).toEqual([]);
  await app.queues.pause("pdf");
  const resumed = running.resume();
  await clock.advance(10);
  await resumed;
  await clock.advance(10);
  expect(began).toEqual(["bulk0"]);
  await app.queues.resume("pdf");
  await clock.advance(10);
  expect(began).toEqual(["bulk0", "pdf0"]);
  await stop(running);
});

test("of messages that were lost with a worker before, one at a time runs in the process, whichever capsule has it", async () => {
  const { app, clock, began, send, end, worker, stop } = hall({ leaseTime: 1 });
  const broker = await app.broker();
  await send("bulk", 1);
  await send("pdf", 1);
  await broker.leases?.renew("dead", 1000);
  const gone = new AbortController();
  const credit = { free: () => 2, whenFree: async () => undefined };
  for await (const batch of broker.consume(["bulk", "pdf"], { worker: "dead", credit, signal: gone.signal })) {
    expect(batch).toHaveLength(2);
    gone.abort();
  }
  await clock.advance(2000);
  await broker.leases?.sweep({ maxDeliveries: 5, leaseMs: 1000, visibilityTimeoutMs: 3_600_000 });
  const running = await worker({ capsules: { pdf: { queues: ["pdf"], concurrency: 5 } } });
  await clock.advance(10);
  expect(began).toHaveLength(1);
  await end(began[0]?.startsWith("pdf") ? "pdf" : "bulk");
  expect(began.toSorted()).toEqual(["bulk0", "pdf0"]);
  await stop(running);
});

test.each<[WorkerOptions, RegExp]>([
  [{ capsules: { a: { queues: ["pdf"] }, b: { queues: ["pdf"] } } }, /the queue pdf is in two capsules of the worker, a and b/],
  [{ queues: ["pdf"], capsules: { a: { queues: ["pdf"] } } }, /the queue pdf is in two capsules of the worker, a and default/],
  [{ capsules: { default: { queues: ["pdf"] } } }, /a capsule cannot be named "default"/],
  [{ capsules: { a: { queues: [] } } }, /the capsule a names no queues/],
  [{ capsules: { a: { queues: ["pdf"], concurrency: 0 } } }, /concurrency of the capsule a is 0/],
  [{ capsules: { a: { queues: ["pdf"], concurency: 3 } as never } }, /has concurency, which means nothing/],
  [{ queueOrder: { pdf: 0 } }, /queueOrder takes .* the weight of pdf is 0/],
  [{ excludeQueues: ["bulk", "mail", "pdf"] }, /no queue to consume from/],
])("a worker of %j is refused", (options, message) => {
  const { app } = hall();
  expect(() => new Worker(app, options)).toThrow(ConfigurationError);
  expect(() => new Worker(app, options)).toThrow(message);
});

test("orders of queues, from options, settings and the environment", () => {
  const orderOf = (settings: LovageOptions, options: WorkerOptions = {}): unknown =>
    planCapsules(hall(settings).app, options, "w@test")[0]?.order;
  expect(orderOf({})).toBeUndefined();
  expect(orderOf({ workerQueueOrder: "strict" })).toEqual({ kind: "strict" });
  expect(orderOf({ workerQueueOrder: "strict" }, { queueOrder: "fair" })).toBeUndefined();
  expect(orderOf({}, { queueOrder: { mail: 3, pdf: 1 } })).toEqual({ kind: "weighted", weights: new Map([["mail", 3], ["pdf", 1]]) }); // prettier-ignore
  expect(orderOf({ env: { CELERY_WORKER_QUEUE_ORDER: "mail:3,pdf:1" } })).toEqual({ kind: "weighted", weights: new Map([["mail", 3], ["pdf", 1]]) }); // prettier-ignore
  expect(() => orderOf({ workerQueueOrder: "best" as "fair" })).toThrow(SettingError);
  expect(() => orderOf({ env: { CELERY_WORKER_QUEUE_ORDER: "mail:3,pdf" } })).toThrow(SettingError);
});
