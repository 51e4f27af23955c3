/**
 * A worker process for tests of workflows. What its tasks do stands in their arguments (`canvas-trees.ts`); each note is one
 * write that outlives the process. Speaks with its parent over IPC as `recording-worker.mjs` does.
 */
import { createHash } from "node:crypto";
import { openSync, readFileSync, writeSync } from "node:fs";
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

const app = new Lovage("canvas", {
  brokerUrl: TEST_BROKER,
  resultBackend: TEST_BACKEND ?? TEST_BROKER,
  env: false,
  configFile: false,
  logger,
  workerConcurrency: Number(TEST_CONCURRENCY ?? 10),
  ...JSON.parse(TEST_SETTINGS ?? "{}"),
});

const valueOf = (id, input) => `${id}:${createHash("sha1").update(JSON.stringify(input)).digest("hex").slice(0, 10)}`;
const wasKilled = (id) => readFileSync(TEST_RECORD, "utf8").includes(`kills ${id}\n`);

async function run(ctx, ...args) {
  const [id, fate] = args.slice(-2);
  await wait(Math.random() * 20);
  switch (fate) {
    case "fails":
      throw new Error("as planned");
    case "rejects":
      return ctx.reject("never");
    case "retries":
      if (ctx.retries < 2) ctx.retry({ countdown: 0.05 });
      break;
    case "retriesThenFails":
      if (ctx.retries < 1) ctx.retry({ countdown: 0 });
      throw new Error("as planned");
    case "timesOut":
      return await new Promise(() => undefined);
    case "losesWorker":
    case "losesWorkerEarly":
      if (wasKilled(id)) break;
      note("kills", id);
      process.kill(process.pid, "SIGKILL");
      return await new Promise(() => undefined);
  }
  note("ran", id);
  return valueOf(id, args.slice(0, -2));
}
app.task({ name: "tree.run", maxRetries: null, timeLimit: 0.5, run });
app.task({ name: "tree.runEarly", maxRetries: null, acksLate: false, run });
app.task("tree.errback", (failed, label) => note("errback", label, "<", failed));

app.task("big.member", (i) => i);
app.task("big.body", (list) => ({ count: list.length, sum: list.reduce((sum, each) => sum + each, 0) }));

async function sayMemory() {
  for (let round = 0; round < 3; round++) {
    globalThis.gc?.();
    await wait(20);
  }
  const { heapUsed, rss } = process.memoryUsage();
  const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
  process.send?.({ kind: "memory", heapUsed, rss, peak: maxRSS * 1024, cpuS: (userCPUTime + systemCPUTime) / 1e6 });
}

const worker = new Worker(app);
process.on("unhandledRejection", (error) => {
  process.send?.({ kind: "log", level: "error", message: "unhandled rejection", error: error?.stack ?? String(error) });
  process.disconnect?.();
  process.exit(70);
});
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => void worker.stop());
process.once("disconnect", () => void worker.stop("cold"));
process.on("message", (message) => {
  if (message === "memory") void sayMemory();
});
await worker.start();
process.send?.({ kind: "ready" });
await worker.finished;
await app.close();
process.send?.({ kind: "stopped" });
process.disconnect?.();
