/** bee-queue. Jobs carry no name, so the task's name is part of the data. */
import { randomUUID } from "node:crypto";
import Queue from "bee-queue";

const name = "bench";
const open = (config, settings) => new Queue(name, { redis: { url: config.url }, ensureScripts: true, ...settings });

export async function openProducer(config) {
  const queue = open(config, { isWorker: false, getEvents: config.waits === true, storeJobs: config.waits === true });
  await queue.ready();
  return {
    send: (x, y) => queue.createJob({ task: "add", x, y }).save(),
    async sendMany(count, x, y) {
      const failed = await queue.saveAll(Array.from({ length: count }, () => queue.createJob({ task: "add", x, y })));
      if (failed.size > 0) throw new Error(`bee-queue did not save ${failed.size} of ${count} jobs`);
    },
    stamp: (x, y) =>
      new Promise((resolve, reject) => {
        const job = queue.createJob({ task: "stamp", x, y }).setId(randomUUID());
        queue.jobs.set(job.id, job); // its own `save` does so after the answer, and drops an event that comes before it
        job.on("succeeded", resolve).on("failed", reject);
        job.save().catch(reject);
      }),
    sleep: (index, ms) => queue.createJob({ task: "sleep", index, ms }).save(),
    async outstanding() {
      const { waiting, active, delayed } = await queue.checkHealth();
      return waiting + active + delayed;
    },
    close: () => queue.close(),
  };
}

export async function openWorker(config, tasks) {
  const run = {
    add: ({ x, y }) => tasks.add(x, y),
    stamp: () => tasks.stamp(),
    sleep: ({ index, ms }) => tasks.sleep(index, ms),
  };
  const queue = open(config, {
    storeJobs: false,
    getEvents: false,
    sendEvents: config.waits === true,
    removeOnSuccess: !config.results,
    ...(config.stalledAfterMs && { stallInterval: config.stalledAfterMs }),
  });
  await queue.ready();
  if (config.stalledAfterMs) queue.checkStalledJobs(config.stalledAfterMs);
  queue.process(config.concurrency, async (job) => run[job.data.task](job.data));
  return { close: () => queue.close() };
}
