/**
 * W10 and W11: a workflow of so many no-op tasks, from its first send to its result in the caller's hand, on one worker that is warm. W10 is a
 * header whose results one task gathers (Celery's chord, BullMQ's flow of a parent and its children), W11 one task after another.
 */
import { percentile } from "../lib/statistics.mjs";

export const chord = workflow("W10", "chord");
export const chain = workflow("W11", "chain");

/** How often before it counts, and how often it counts; a chain of Celery's takes half a minute. */
const warmings = { chord: 3, chain: 1 };
const timesOf = (system, kind) => (system.python && kind === "chain" ? 1 : 5);

function workflow(id, kind) {
  return {
    id,
    title: `${kind} of 1,000`,
    async measure({ system, count, start }) {
      const worker = await start("worker", { results: true, waits: true });
      const producer = await start("producer", { results: true, waits: true });
      for (let warm = 0; warm < warmings[kind]; warm++) await producer.request("workflow", { kind, size: Math.ceil(count / 4) });
      const took = [];
      for (let time = 0; time < timesOf(system, kind); time++) took.push(await producer.request("workflow", { kind, size: count }));
      await Promise.all([worker.stop(), producer.stop()]);
      return { workflowMs: percentile(took, 50) };
    },
  };
}
