/** A place to try workers in: an app whose broker and results are in memory, and a clock that is turned by hand. */
import { onTestFinished } from "vitest";

import type { Lovage, LovageOptions } from "../../src/app/app.ts";
import type { MemoryBroker } from "../../src/brokers/memory/index.ts";
import { sleep } from "../../src/shared/clock.ts";
import type { LogFields, Logger } from "../../src/shared/log.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { memoryApp } from "../../src/testing/memory-app.ts";
import type { WorkerOptions } from "../../src/worker/worker-options.ts";
import { Worker } from "../../src/worker/worker.ts";

/** Longer than any stop of a worker with the default settings takes. */
const STOP_MS = 60_000;

export interface Room {
  readonly app: Lovage;
  readonly clock: FakeClock;
  /** What was logged, as "level message". */
  readonly log: string[];
  broker(): Promise<MemoryBroker>;
  /** Starts a worker, called w@test unless told otherwise. */
  start(options?: WorkerOptions): Promise<Worker>;
  /** Lets a worker stop while the clock goes on. */
  stop(worker: Worker, how?: "warm" | "cold"): Promise<void>;
  /** What a task does that takes `ms` by the room's clock. */
  sleep(ms: number): Promise<void>;
  /** Ends all workers and the app. Comes by itself at the end of a test. */
  leave(): Promise<void>;
}

/** To be called in a test: what it made ends with that test. @param clock of another room, for one beside it */
export function room(options: LovageOptions = {}, clock = new FakeClock()): Room {
  const log: string[] = [];
  const app = memoryApp({ clock, logger: loggerInto(log), random: () => 0.5, ...options });
  const workers: Worker[] = [];
  const whileTimePasses = async (stopped: Promise<unknown>): Promise<void> => {
    await clock.advance(STOP_MS);
    await stopped;
  };
  const leave = async (): Promise<void> => {
    await whileTimePasses(Promise.all(workers.splice(0).map((worker) => worker.stop())));
    await app.close();
  };
  onTestFinished(leave);
  return {
    app,
    clock,
    log,
    broker: async () => (await app.broker()) as MemoryBroker,
    async start(workerOptions = {}) {
      const worker = new Worker(app, { name: "w@test", ...workerOptions });
      workers.push(worker);
      await worker.start();
      return worker;
    },
    stop: (worker, how) => whileTimePasses(worker.stop(how)),
    sleep: (ms) => sleep(clock, ms),
    leave,
  };
}

/** A task's document as the result backend keeps it, or undefined. */
export async function document(app: Lovage, id: string): Promise<Record<string, unknown> | undefined> {
  const [text] = (await (await app.backend())?.fetch([id])) ?? [];
  return text === undefined ? undefined : (JSON.parse(String(text)) as Record<string, unknown>);
}

function loggerInto(log: string[]): Logger {
  const note =
    (level: string) =>
    (_: LogFields, message: string): void =>
      void log.push(`${level} ${message}`);
  const logger: Logger = { debug: note("debug"), info: note("info"), warn: note("warn"), error: note("error"), child: () => logger };
  return logger;
}
