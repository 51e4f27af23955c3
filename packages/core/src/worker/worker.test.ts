import { expect, test } from "vitest";

import type { Lovage, LovageOptions } from "../app/app.ts";
import { currentTask } from "../app/process-wide.ts";
import type { MemoryBroker } from "../brokers/memory/index.ts";
import { SoftTimeLimitExceeded } from "../protocol/celery-errors.ts";
import type { LogFields, Logger } from "../shared/log.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { memoryApp } from "../testing/memory-app.ts";
import { WorkerStoppedError } from "./outcome.ts";
import { Worker, type WorkerOptions } from "./worker.ts";

interface Room {
  readonly app: Lovage;
  readonly clock: FakeClock;
  readonly log: string[];
  broker(): Promise<MemoryBroker>;
  worker(options?: WorkerOptions): Promise<Worker>;
  /** Lets a worker stop while the clock goes on. */
  stop(worker: Worker, how?: "warm" | "cold"): Promise<void>;
}

function room(options: LovageOptions = {}): Room {
  const clock = new FakeClock();
  const log: string[] = [];
  const note =
    (level: string) =>
    (_: LogFields, message: string): void =>
      void log.push(`${level} ${message}`);
  const logger: Logger = { debug: note("debug"), info: note("info"), warn: note("warn"), error: note("error"), child: () => logger };
  const app = memoryApp({ clock, logger, random: () => 0.5, ...options });
  return {
    app,
    clock,
    log,
    broker: async () => (await app.broker()) as MemoryBroker,
    async worker(workerOptions = {}) {
      const worker = new Worker(app, { name: "w@test", ...workerOptions });
      await worker.start();
      return worker;
    },
    async stop(worker, how) {
      const stopped = worker.stop(how);
      await clock.advance(30_000);
      await stopped;
    },
  };
}

async function document(app: Lovage, id: string): Promise<Record<string, unknown> | undefined> {
  const backend = await app.backend();
  const [text] = (await backend?.fetch([id])) ?? [];
  return text === undefined ? undefined : (JSON.parse(String(text)) as Record<string, unknown>);
}

test("a task runs, its result is stored, its message is gone", async () => {
  const { app, clock, broker, worker, stop } = room();
  const add = app.task("shop.add", (x: number, y: number) => x + y);
  const running = await worker();
  const result = await add.delay(2, 3);
  await clock.advance(0);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS", result: 5, traceback: null, children: [], task_id: result.id });
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ ready: 0, parked: 0, onLoan: 0, dead: 0 }]);
  expect(running.status()).toMatchObject({ state: "running", consuming: true, running: 0, onLoan: 0, processed: 1 });
  await stop(running);
  expect(running.status().state).toBe("stopped");
});
