/** A worker process for tests of workflows. What its tasks do stands in their arguments (`canvas-trees.ts`). */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { note, recordingApp, work } from "./recording-process.mjs";

const { TEST_BROKER, TEST_RECORD } = process.env;
const app = recordingApp("canvas", TEST_BROKER);

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

await work(app);
