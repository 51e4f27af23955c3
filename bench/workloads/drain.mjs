/**
 * W2 and W2r: one worker works off a backlog of no-op tasks, results off or stored. The clock starts when a tenth has been
 * executed, so that start-up and the compiler's first look are behind, and stops when the broker has no task left, on loan or waiting.
 */
import { cpuMicrosSince, drained, watchExecution } from "../lib/execution.mjs";

export const withoutResults = drainWorkload("W2", "drain a backlog, results off", false);
export const withResults = drainWorkload("W2r", "drain a backlog, results stored", true);

function drainWorkload(id, title, results) {
  return {
    id,
    title,
    async measure({ system, store, count, start }) {
      const producer = await start("producer", { results });
      await producer.request("enqueue", { way: system.fillsBy ?? "bulk", count });
      const warm = Math.ceil(count / 10);
      const worker = await start("worker", { results, warm, expect: count });
      const from = await watchExecution({ system, store, producer, worker, remaining: count - warm });
      const endedAt = await drained({ producer, worker, system });
      const workerMicros = await cpuMicrosSince(worker, from);
      const storeMicros = (await store.cpuMicros()) - from.storeMicros;
      await Promise.all([worker.stop(), producer.stop()]);
      const measured = count - warm;
      return {
        perSecond: (measured / (endedAt - from.at)) * 1000,
        workerMicros: workerMicros / measured,
        storeMicros: storeMicros / measured,
      };
    },
  };
}
