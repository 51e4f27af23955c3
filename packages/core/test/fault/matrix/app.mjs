/**
 * The app of the crash matrix: one task a way to acknowledge, each writes down when it begins and when it has ended, in writes that outlive
 * the process. Plain JavaScript, because Node 20 starts no TypeScript.
 */
import { openSync, writeSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { Lovage } from "lovage";

const record = openSync(process.env.TEST_RECORD, "a");
const worker = process.env.TEST_WORKER;
const note = (what, index) => writeSync(record, `${what} ${index} ${worker} ${process.pid} ${Date.now()}\n`);

export const app = new Lovage("matrix", { env: false, configFile: false, ...JSON.parse(process.env.TEST_SETTINGS) });

async function work(index, ms, fails) {
  note("began", index);
  await wait(ms);
  note("ended", index);
  if (fails) throw new Error("as it was asked to");
  return index;
}

app.task("matrix.early", { acksLate: false }, work);
app.task("matrix.late", work);
app.task("matrix.lateLostIsFailed", { rejectOnWorkerLost: false }, work);
app.task("matrix.lateFailureIsRejected", { acksOnFailure: false }, work);
