/** What a system costs while it has little or nothing to do. */
import { sleep } from "../lib/clock.mjs";
import { watchCommands } from "../lib/commands.mjs";

const fleetProcesses = 4;
const workersEach = 50;
const perSecond = 100;

/** One worker with an empty queue: its share of a processor. */
export const idleWorker = {
  id: "idle-worker",
  title: "one idle worker",
  async measure({ start, windowMs }) {
    const worker = await start("worker", { results: false });
    await sleep(windowMs / 5); // what follows a start is no part of being idle
    const from = await worker.request("usage");
    await sleep(windowMs);
    const to = await worker.request("usage");
    await worker.stop();
    return { corePercent: ((to.cpuMicros - from.cpuMicros) / (to.at - from.at) / 1000) * 100 };
  },
};

/**
 * 200 workers in four processes on one queue: commands and Redis time without a message, then with 100 a second. Commands are counted
 * with MONITOR, in windows of their own because it costs Redis time itself; those that a script runs are no commands of a client.
 */
export const idleFleet = {
  id: "idle-fleet",
  title: "200 idle workers on one queue",
  async measure({ store, start, windowMs }) {
    const fleets = [];
    for (let index = 0; index < fleetProcesses; index++) fleets.push(await start("worker", { results: false, workers: workersEach }));
    const producer = await start("producer", { results: false });
    const trickle = () => producer.request("trickle", { perSecond, forMs: windowMs });
    const quiet = () => sleep(windowMs);
    await sleep(windowMs / 2);

    const workers = fleetProcesses * workersEach;
    const seconds = windowMs / 1000;
    const messages = perSecond * seconds;
    const quietMicros = await spent(store, quiet);
    const quietCommands = await watchCommands(store, quiet);
    await trickle();
    const busyMicros = await spent(store, trickle);
    const busyCommands = await watchCommands(store, trickle);
    const reserves = sum(Object.entries(busyCommands).filter(([name]) => name.includes("reserve")));
    const measured = {
      quietCommandsPerWorkerSecond: sum(Object.entries(quietCommands)) / workers / seconds,
      quietStorePercent: quietMicros / seconds / 1e4,
      commandsPerMessage: sum(Object.entries(busyCommands)) / messages,
      reservesPerMessage: reserves / messages,
      storeMsPerMessage: busyMicros / messages / 1000,
      detail: `quiet ${perUnit(quietCommands, workers * seconds)} a worker and second; busy ${perUnit(busyCommands, messages)} a message`,
    };
    await Promise.all([...fleets, producer].map((role) => role.stop()));
    return measured;
  },
};

async function spent(store, during) {
  const from = await store.cpuMicros();
  await during();
  return (await store.cpuMicros()) - from;
}

const sum = (entries) => entries.reduce((total, [, count]) => total + count, 0);

function perUnit(commands, units) {
  return Object.entries(commands)
    .toSorted(([, a], [, b]) => b - a)
    .map(([name, count]) => `${name} ${Number((count / units).toPrecision(2))}`)
    .join(", ");
}
