/**
 * BullMQ. "Results off" is `removeOnComplete`; "results stored" is its default, the job kept with its return value.
 * Redis is reached through ioredis, as its documentation has it.
 */
import { FlowProducer, Queue, QueueEvents, Worker } from "bullmq";

const name = "bench";
const connection = ({ url }) => ({ url, maxRetriesPerRequest: null });

export async function openProducer(config) {
  const queue = new Queue(name, { connection: connection(config) });
  await queue.waitUntilReady();
  let events;
  let flows;
  /** A job waits for its children. */
  const finished = async (tree) => {
    if (!flows) {
      flows = new FlowProducer({ connection: connection(config) });
      events = new QueueEvents(name, { connection: connection(config) });
      await events.waitUntilReady();
    }
    const { job } = await flows.add(tree);
    return await job.waitUntilFinished(events);
  };
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
    workflow: {
      chord: (size) =>
        finished({
          name: "sum",
          queueName: name,
          data: {},
          children: Array.from({ length: size }, () => ({ name: "add", queueName: name, data: { x: 1, y: 2 } })),
        }),
      chain(size) {
        let tree = { name: "add", queueName: name, data: { x: 1, y: 2 } };
        for (let left = size - 1; left > 0; left--) tree = { name: "next", queueName: name, data: { y: 1 }, children: [tree] };
        return finished(tree);
      },
    },
    async outstanding() {
      const counts = await queue.getJobCounts("wait", "active", "delayed", "prioritized");
      return Object.values(counts).reduce((sum, count) => sum + count, 0);
    },
    async close() {
      await events?.close();
      await flows?.close();
      await queue.close();
    },
  };
}

export async function openWorker(config, tasks) {
  const run = {
    add: ({ x, y }) => tasks.add(x, y),
    stamp: () => tasks.stamp(),
    sleep: ({ index, ms }) => tasks.sleep(index, ms),
    sum: async (_, job) => Object.values(await job.getChildrenValues()).reduce((all, each) => all + each, 0),
    next: async ({ y }, job) => tasks.add(Object.values(await job.getChildrenValues())[0], y),
  };
  const worker = new Worker(name, async (job) => run[job.name](job.data, job), {
    connection: connection(config),
    concurrency: config.concurrency,
    ...(config.results ? {} : { removeOnComplete: { count: 0 } }),
    ...(config.stalledAfterMs && { lockDuration: config.stalledAfterMs, stalledInterval: config.stalledAfterMs }),
  });
  worker.on("error", () => {}); // its connection errors after the server is gone
  await worker.waitUntilReady();
  return { close: () => worker.close(true) };
}
