/**
 * When a worker's execution begins and ends, seen the same way for all systems as far as they allow: workers in Node tell when
 * tasks start; Python's pools run them in other processes, so there the broker's count is asked for every 5 ms.
 */
import { nowMs, until } from "./clock.mjs";

const pollMs = 5;

/** Resolves when no more than `remaining` tasks are left to execute, with the instant and the CPU used by then. */
export async function watchExecution({ system, store, producer, worker, remaining }) {
  if (system.python) {
    const begun = async () => (await producer.request("outstanding")) <= remaining;
    await until(`${system.id} to begin`, begun, { everyMs: pollMs, timeoutMs: 300_000 });
    const { at, cpuMicros } = await worker.request("usage");
    return { at, cpuMicros, storeMicros: await store.cpuMicros() };
  }
  const { at, cpuMicros } = await worker.event("warm");
  return { at, cpuMicros, storeMicros: await store.cpuMicros() };
}

/** Resolves, with the instant, when the worker has executed all and the broker holds nothing more. */
export async function drained({ system, producer, worker }) {
  if (!system.python) await worker.event("executed");
  await settled(producer, system.python ? pollMs : 1);
  return nowMs();
}

/** Resolves when the broker holds no task, waiting or on loan. */
export function settled(producer, everyMs = pollMs) {
  return until("the broker to be empty", async () => (await producer.request("outstanding")) === 0, { everyMs, timeoutMs: 300_000 });
}

export async function cpuMicrosSince(worker, from) {
  return (await worker.request("usage")).cpuMicros - from.cpuMicros;
}
