/** A thread in each process of a pool: ends the process when its parent is gone, even while a task blocks the event loop. */
import { workerData } from "node:worker_threads";

const LOOK_EVERY_MS = 1000;

const parent: unknown = workerData;
const sleeper = new Int32Array(new SharedArrayBuffer(4));
while (process.ppid === parent) Atomics.wait(sleeper, 0, 0, LOOK_EVERY_MS);
process.kill(process.pid, "SIGKILL");
