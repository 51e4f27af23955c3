/**
 * W10 and W11: a workflow of so many no-op tasks, from its first send to its result in the caller's hand, on one worker that is warm; and the processor time of worker and store. W10 is a
 * header whose results one task gathers (Celery's chord, BullMQ's flow of a parent and its children), W11 one task after another.
 */
import { percentile } from "../lib/statistics.mjs";

export const chord = workflow("W10", "chord");
export const chain = workflow("W11", "chain");

/** How often before it counts: until the compiler has seen it, and little where each takes seconds. */
const warmingsOf = (system, kind) => (system.python ? 1 : kind === "chord" ? 12 : 1);
/** A chain of Celery's takes a minute. */
const timesOf = (system, kind) => (system.python && kind === "chain" ? 1 : 5);

function workflow(id, kind) {
  return {
    id,
    title: `${kind} of 1,000`,
    async measure({ system, store, count, start }) {
      const worker = await start("worker", { results: true, waits: true });
      const producer = await start("producer", { results: true, waits: true });
      for (let warm = 0; warm < warmingsOf(system, kind); warm++)
        await producer.request("workflow", { kind, size: kind === "chord" ? count : Math.ceil(count / 4) });
      const from = { worker: await worker.request("usage"), store: await store.cpuMicros() };
      const took = [];
      for (let time = 0; time < timesOf(system, kind); time++) took.push(await producer.request("workflow", { kind, size: count }));
      const workerMs = ((await worker.request("usage")).cpuMicros - from.worker.cpuMicros) / took.length / 1000;
      const storeMs = ((await store.cpuMicros()) - from.store) / took.length / 1000;
      await Promise.all([worker.stop(), producer.stop()]);
      return { workflowMs: percentile(took, 50), cpuMs: workerMs + storeMs, storeMs };
    },
  };
}
