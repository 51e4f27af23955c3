/** Which queues a worker consumes from. */
import type { Lovage } from "../app/app.ts";
import { ConfigurationError } from "../app/errors.ts";
import type { DeclaredQueue } from "../app/queues.ts";
import type { WorkerOptions } from "./worker-options.ts";

/** @throws ConfigurationError when all are excluded */
export function consumedQueues(app: Lovage, options: WorkerOptions, worker: string): readonly DeclaredQueue[] {
  const { routing } = app.calls;
  const chosen = options.queues ? options.queues.map((name) => routing.queue(name)) : routing.declared;
  const excluded = new Set(options.excludeQueues);
  const left = chosen.filter((queue) => !excluded.has(queue.name));
  if (left.length === 0) throw new ConfigurationError("the worker has no queue to consume from: all are excluded");
  return app.settings.workerDirect ? [...left, directQueue(worker)] : left;
}

/** A queue of this worker's own, as Celery names it (celery/utils/nodenames.py, `worker_direct`). */
function directQueue(worker: string): DeclaredQueue {
  const name = `${worker}.dq2`;
  return { name, bindings: [{ name, exchange: "C.dq2", exchangeType: "direct", routingKey: worker }], queueArguments: {} };
}
