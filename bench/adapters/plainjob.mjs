/**
 * plainjob on better-sqlite3, with what its own benchmark uses: `addMany`, one `defineWorker` in a process of its own, WAL and
 * `synchronous = NORMAL` (which it sets itself). Done jobs stay in the table with no result. A worker runs one job at a time.
 */
import Database from "better-sqlite3";
import { better, defineQueue, defineWorker, JobStatus } from "plainjob";

const logger = { error: console.error, warn: console.warn, info() {}, debug() {} };
const open = (config) => defineQueue({ connection: better(new Database(config.url)), logger });

export async function openProducer(config) {
  const queue = open(config);
  return {
    send: async (x, y) => queue.add("add", { x, y }),
    sendMany: async (count, x, y) =>
      queue.addMany(
        "add",
        Array.from({ length: count }, () => ({ x, y })),
      ),
    outstanding: async () => queue.countJobs({ status: JobStatus.Pending }) + queue.countJobs({ status: JobStatus.Processing }),
    close: async () => queue.close(),
  };
}

export async function openWorker(config, tasks) {
  const queue = open(config);
  const worker = defineWorker(
    "add",
    async (job) => {
      const { x, y } = JSON.parse(job.data);
      tasks.add(x, y);
    },
    { queue, logger },
  );
  // Its loop awaits only resolved promises while there are jobs: this process hears the runner again when the queue is empty.
  setImmediate(() => void worker.start());
  return { close: () => worker.stop() };
}
