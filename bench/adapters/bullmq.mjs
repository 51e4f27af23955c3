/**
 * BullMQ. "Results off" is `removeOnComplete`; "results stored" is its default, the job kept with its return value.
 * Redis is reached through ioredis, as its documentation has it.
 */
import { Queue, QueueEvents, Worker } from "bullmq";

const name = "bench";
const connection = ({ url }) => ({ url, maxRetriesPerRequest: null });

export async function openProducer(config) {
  const queue = new Queue(name, { connection: connection(config) });
  await queue.waitUntilReady();
  let events;
  return {
    send: (x, y) => queue.add("add", { x, y }),
    sendMany: (count, x, y) => queue.addBulk(Array.from({ length: count }, () => ({ name: "add", data: { x, y } }))),
    async stamp(x, y) {
      if (!events) {
        events = new QueueEvents(name, { connection: connection(config) });
        await events.waitUntilReady();
      }
      const job = await queue.add("stamp", { x, y });
      return job.waitUntilFinished(events);
    },
    sleep: (index, ms) => queue.add("sleep", { index, ms }),
    async outstanding() {
      const counts = await queue.getJobCounts("wait", "active", "delayed", "prioritized");
      return Object.values(counts).reduce((sum, count) => sum + count, 0);
    },
    async close() {
      await events?.close();
      await queue.close();
    },
  };
}

export async function openWorker(config, tasks) {
  const run = {
    add: ({ x, y }) => tasks.add(x, y),
    stamp: () => tasks.stamp(),
    sleep: ({ index, ms }) => tasks.sleep(index, ms),
  };
  const worker = new Worker(name, async (job) => run[job.name](job.data), {
    connection: connection(config),
    concurrency: config.concurrency,
    ...(config.results ? {} : { removeOnComplete: { count: 0 } }),
    ...(config.stalledAfterMs && { lockDuration: config.stalledAfterMs, stalledInterval: config.stalledAfterMs }),
  });
  worker.on("error", () => {}); // its connection errors after the server is gone
  await worker.waitUntilReady();
  return { close: () => worker.close(true) };
}
