/**
 * A worker process for tests. Its task `test.record(index, ms)` waits and then appends the index to a file, in one write
 * that outlives the process: what stands there was executed, whatever killed the worker afterwards.
 * Speaks with its parent over IPC: says "ready", and "stopped" after a signal. Plain JavaScript, because Node 20 starts no TypeScript.
 */
import { openSync, writeSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { Lovage } from "lovage";
import { Worker } from "lovage/worker";

const { TEST_BROKER, TEST_BACKEND, TEST_RECORD, TEST_CONCURRENCY, TEST_SETTINGS } = process.env;
const record = openSync(TEST_RECORD, "a");
const note = (...words) => writeSync(record, `${words.join(" ")}\n`);
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

const app = new Lovage("recording", {
  brokerUrl: TEST_BROKER,
  resultBackend: TEST_BACKEND ?? "disabled://",
  env: false,
  configFile: false,
  logger,
  workerConcurrency: Number(TEST_CONCURRENCY ?? 10),
  ...JSON.parse(TEST_SETTINGS ?? "{}"),
});

app.task("test.record", async (index, ms) => {
  if (ms > 0) await wait(ms);
  note(index);
  return index;
});

/** Writes down that it began, too. */
app.task("test.recordBoth", async (index, ms) => {
  note("began", index);
  await wait(ms);
  note(index);
});

/** Writes down when it began and ended, and in which process. Heeds its signal. */
app.task({
  name: "test.timed",
  async run(ctx, index, ms) {
    note("began", index, Date.now(), process.pid);
    await wait(ms, undefined, { signal: ctx.signal });
    note("ended", index, Date.now(), process.pid);
  },
});

app.task("test.nothing", () => undefined);

/** Keeps the event loop to itself. */
app.task("test.block", (index, ms) => {
  const end = performance.now() + ms;
  while (performance.now() < end);
  note(index);
  return process.pid;
});

app.task({
  name: "test.reason",
  async run(ctx, index) {
    process.send?.({ kind: "running", index });
    await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve, { once: true }));
    note(index, ctx.signal.reason.name);
    return process.pid;
  },
});

/** What is left after all garbage was collected (`--expose-gc`), in bytes. */
async function sayMemory() {
  for (let round = 0; round < 5; round++) {
    globalThis.gc();
    await wait(20); // finalizers
  }
  const { heapUsed, rss } = process.memoryUsage();
  process.send?.({ kind: "memory", heapUsed, rss });
}

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
