/** Entry of a role's process in Node: `node node-role.mjs <adapter> <producer|worker> <config as JSON>`. See role.mjs. */
import { appendFileSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { cpuMicros, nowMs } from "./clock.mjs";
import { enqueue, latencies, trickle, workflow } from "./producing.mjs";

const [adapterId, role, configText] = process.argv.slice(2);
const config = JSON.parse(configText);
/** Synchronously, for a peer whose loop gives no turn to the event loop while it has work. */
const write = (message) => writeSync(3, JSON.stringify(message) + "\n");
const memory = () => ({ rssBytes: process.memoryUsage.rss(), peakRssBytes: process.resourceUsage().maxRSS * 1024 });

const importedFrom = performance.now();
const adapter = await import(`../adapters/${adapterId}.mjs`);
const importMs = performance.now() - importedFrom;

const commands = role === "producer" ? await producerCommands() : await workerCommands();
write({ event: "ready", at: nowMs(), importMs });

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const { id, command, args } = JSON.parse(line);
    try {
      write({ id, value: (await commands[command](args)) ?? null });
    } catch (error) {
      write({ id, error: error.stack });
    }
  })
  .on("close", async () => {
    await commands.close().catch(() => {});
    process.exit(0); // not every peer can be closed
  });

async function producerCommands() {
  const producer = await adapter.openProducer(config);
  return {
    enqueue: (args) => enqueue(producer, args),
    latencies: (args) => latencies(producer, args),
    trickle: (args) => trickle(producer, args),
    workflow: (args) => workflow(producer, args),
    sleepers: async ({ count, ms }) => {
      for (let index = 0; index < count; index++) await producer.sleep(index, ms);
    },
    outstanding: () => producer.outstanding(),
    memory,
    close: () => producer.close(),
  };
}

/**
 * The three tasks every system has. `add` counts, and tells the runner when the part to be measured begins (`warm` tasks
 * have started) and when `expect` have; `stamp` answers when it started; `sleep` notes its index in a file when it is done.
 */
async function workerCommands() {
  const { warm = 0, expect = 0 } = config;
  let started = 0;
  const tell = (event) => write({ event, at: nowMs(), cpuMicros: cpuMicros() });
  const tasks = {
    add(x, y) {
      if (started === 0) tell("first");
      if (++started === warm) tell("warm");
      if (started === expect) tell("executed");
      return x + y;
    },
    stamp: () => nowMs(),
    async sleep(index, ms) {
      await new Promise((resolve) => setTimeout(resolve, ms));
      appendFileSync(config.log, `${index}\n`);
    },
  };
  const workers = [];
  for (let index = 0; index < (config.workers ?? 1); index++) workers.push(await adapter.openWorker(config, tasks));
  return {
    usage: () => ({ at: nowMs(), cpuMicros: cpuMicros(), started, ...memory() }),
    close: () => Promise.all(workers.map((worker) => worker.close())),
  };
}
