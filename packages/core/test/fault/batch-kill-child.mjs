/** A worker of batch-kill.test.ts: killed at any moment. Says "ready" and then works. */
import { currentBatch, Lovage } from "lovage";
import { Worker } from "lovage/worker";

const [url, name] = process.argv.slice(2);
const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
const app = new Lovage("batches", {
  brokerUrl: url,
  resultBackend: url,
  logger: silent,
  leaseTime: 2,
  maxDeliveries: 100,
  configFile: false,
});
app.task("batches.work", async (ms) => await new Promise((resolve) => setTimeout(resolve, ms)));
const work = app.remote("batches.work");
/** Adds to its own batch, and a child batch to it: the same ones each time that it runs. */
app.task("batches.spread", async (size) => {
  const own = currentBatch();
  await own.add(Array.from({ length: size }, (_, i) => work.s(i % 20)));
  await new Promise((resolve) => setTimeout(resolve, 30));
  await own.child({}, async (child) => {
    await child.add(Array.from({ length: size }, (_, i) => work.s(i % 20)));
  });
});
const worker = new Worker(app, { concurrency: 20, name, queues: ["celery"] });
await worker.start();
process.stdout.write("ready\n");
await new Promise((resolve) => process.once("SIGTERM", resolve));
await worker.stop();
await app.close();
