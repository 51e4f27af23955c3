/**
 * Tasks for tests of long work: iterations, batches. What a step or a batch did is written to a file, in one write that
 * outlives the process. Plain JavaScript, because Node 20 starts no TypeScript.
 */
import { openSync, writeSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { Lovage, range } from "lovage";

const { TEST_BROKER, TEST_RECORD, TEST_SETTINGS } = process.env;

const record = openSync(TEST_RECORD, "a");
const note = (...words) => writeSync(record, `${words.join(" ")}\n`);

export const app = new Lovage("long", {
  brokerUrl: TEST_BROKER,
  resultBackend: TEST_BROKER,
  env: false,
  configFile: false,
  ...JSON.parse(TEST_SETTINGS ?? "{}"),
});

app.task({
  name: "steps",
  async run(ctx, count, ms) {
    const steps = ctx.iterate(range(0, count), { checkpointEvery: "1s", total: count });
    for await (const step of steps) {
      await wait(ms);
      note("step", step, process.pid);
    }
    return { steps: steps.done, retries: ctx.retries, losses: ctx.delivery.redelivered };
  },
});

app.task({
  name: "rows",
  batch: { size: 20, wait: 0.2 },
  maxRetries: 3,
  async run(_ctx, items) {
    await wait(20);
    for (const item of items) {
      const [row] = item.args;
      if (row % 10 === 3 && item.retries === 0) {
        item.retry({ countdown: 0.1, error: new Error("not yet") });
        continue;
      }
      note("row", row, process.pid);
      if (row % 10 === 7) item.fail(new RangeError("a bad row"));
      else item.succeed({ row, at: new Uint8Array([row % 256]) });
    }
  },
});

app.task({
  name: "digest",
  aggregate: { key: (call) => call % 5, maxSize: 25, maxWait: 0.5 },
  async run(_ctx, items) {
    await wait(20);
    const calls = items.map(({ args: [call] }) => call);
    note("run", items.length, process.pid);
    for (const call of calls) note("call", call, new Set(calls.map((each) => each % 5)).size);
    return calls;
  },
});
