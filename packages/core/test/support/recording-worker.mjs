/**
 * A worker process for tests. Its task `test.record(index, ms)` waits and then appends the index to a file: what stands there was executed.
 */
import { setTimeout as wait } from "node:timers/promises";
import { note, recordingApp, work } from "./recording-process.mjs";

const app = recordingApp("recording");

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

await work(app);
