import { producerAndWorker } from "./both.mjs";
import { coldStart } from "./cold-start.mjs";
import { withResults, withoutResults } from "./drain.mjs";
import { awaited, bulk, concurrent } from "./enqueue.mjs";
import { idleFleet, idleWorker } from "./idle.mjs";
import { latency } from "./latency.mjs";
import { memory } from "./memory.mjs";
import { recovery } from "./recovery.mjs";
import { chain, chord } from "./workflows.mjs";

export const workloads = [
  awaited,
  concurrent,
  bulk,
  withoutResults,
  withResults,
  producerAndWorker,
  latency,
  chord,
  chain,
  memory,
  recovery,
  coldStart,
  idleWorker,
  idleFleet,
];
