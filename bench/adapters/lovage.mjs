/** Lovage as a user writes it: an app, tasks with names, a worker. Results off means that no result backend is configured. */
import { chain, chord, Lovage } from "lovage";
import { Worker } from "lovage/worker";

const quiet = () => {};
/** As `lovage worker` logs by default: warnings and worse. */
const logger = {
  debug: quiet,
  info: quiet,
  warn: console.warn,
  error: console.error,
  child: () => logger,
  isLevelEnabled: (level) => level === "warn" || level === "error",
};

export function makeApp(config, tasks = {}) {
  const app = new Lovage("bench", {
    brokerUrl: config.url,
    resultBackend: config.results ? config.url : "disabled://",
    ...(config.synchronous && { brokerTransportOptions: { synchronous: config.synchronous } }),
    configFile: false,
    env: false,
    logger,
  });
  return {
    app,
    add: app.task("bench.add", (x, y) => tasks.add(x, y)),
    stamp: app.task("bench.stamp", () => tasks.stamp()),
    sleep: app.task("bench.sleep", (index, ms) => tasks.sleep(index, ms)),
    sum: app.task("bench.sum", (list) => list.reduce((all, each) => all + each, 0)),
  };
}

export async function openProducer(config) {
  const { app, add, stamp, sleep, sum } = makeApp(config);
  const broker = await app.broker();
  return {
    send: (x, y) => add.delay(x, y),
    sendMany: (count, x, y) => app.publishMany(Array.from({ length: count }, () => add.call(x, y))),
    async stamp() {
      const result = await stamp.delay();
      return result.get();
    },
    sleep: (index, ms) => sleep.delay(index, ms),
    workflow: {
      async chord(size) {
        const header = Array.from({ length: size }, () => add.s(1, 2));
        return await (await chord(header, sum.s()).delay()).get();
      },
      async chain(size) {
        const steps = [add.s(1, 2), ...Array.from({ length: size - 1 }, () => add.s(1))];
        return await (await chain(steps).delay()).get();
      },
    },
    async outstanding() {
      const [depth] = await broker.depth(["celery"]);
      const loans = depth.onLoan ?? (await broker.leases.list()).reduce((all, lease) => all + lease.loans, 0);
      return depth.ready + depth.parked + loans;
    },
    close: () => app.close(),
  };
}

export async function openWorker(config, tasks) {
  const { app } = makeApp(config, tasks);
  const worker = new Worker(app, { concurrency: config.concurrency });
  await worker.start();
  return {
    async close() {
      await worker.stop();
      await app.close();
    },
  };
}
