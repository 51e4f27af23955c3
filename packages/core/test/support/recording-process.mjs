/**
 * What the worker processes for tests have in common: an app from the environment, a file for notes, and a worker that speaks with
 * `recording-workers.ts` over IPC: it says "ready", "stopped", what it logs, and what it is asked for. Plain JavaScript, because Node 20
 * starts no TypeScript.
 */
import { openSync, writeSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { Lovage } from "lovage";
import { Worker } from "lovage/worker";

const { TEST_BROKER, TEST_BACKEND, TEST_RECORD, TEST_CONCURRENCY, TEST_SETTINGS } = process.env;

const record = openSync(TEST_RECORD, "a");
/** One write that outlives the process: what stands there happened, whatever killed the worker afterwards. */
export const note = (...words) => writeSync(record, `${words.join(" ")}\n`);

const say = (level) => (fields, message) =>
  void (process.connected && process.send({ kind: "log", level, message, error: fields.err?.stack ?? fields.err?.message }));
const logger = {
  debug() {},
  info() {},
  warn: say("warn"),
  error: say("error"),
  child: () => logger,
  isLevelEnabled: (level) => level === "warn" || level === "error",
};

/** @param resultBackend unless the test names one */
export function recordingApp(name, resultBackend = "disabled://") {
  return new Lovage(name, {
    brokerUrl: TEST_BROKER,
    resultBackend: TEST_BACKEND ?? resultBackend,
    env: false,
    configFile: false,
    logger,
    workerConcurrency: Number(TEST_CONCURRENCY ?? 10),
    ...JSON.parse(TEST_SETTINGS ?? "{}"),
  });
}

/** Runs a worker until it is told to stop: by a signal, or because the parent is gone. A second signal hurries it. */
export async function work(app) {
  const worker = new Worker(app);
  process.on("unhandledRejection", (error) => {
    process.send?.({ kind: "log", level: "error", message: "unhandled rejection", error: error?.stack ?? String(error) });
    process.disconnect?.();
    process.exit(70);
  });
  let stops = 0;
  for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => void worker.stop(stops++ > 0 ? "cold" : "warm"));
  process.once("disconnect", () => void worker.stop("cold"));
  process.on("message", (message) => {
    if (message === "status") process.send?.({ kind: "status", status: worker.status() });
    if (message === "memory") void sayMemory();
    if (message === "quiet") void worker.quiet();
    if (message === "resume") void worker.resume();
  });
  await worker.start();
  process.send?.({ kind: "ready" });
  await worker.finished;
  await app.close();
  process.send?.({ kind: "stopped" });
  process.disconnect?.();
}

/** A collection takes a few turns: finalizers run between them and free more. */
const FINALIZERS_MS = 20;

/** What is left after all garbage was collected (`--expose-gc`), and the most there was, in bytes. */
async function sayMemory() {
  for (let round = 0; round < 5; round++) {
    globalThis.gc();
    await wait(FINALIZERS_MS);
  }
  const { heapUsed, rss } = process.memoryUsage();
  const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
  process.send?.({ kind: "memory", heapUsed, rss, peak: maxRSS * 1024, cpuS: (userCPUTime + systemCPUTime) / 1e6 });
}
