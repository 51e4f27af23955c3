/** Which queues a worker consumes from, and in which of its capsules. Pure. */
import type { Lovage } from "../app/app.ts";
import { type CapsuleDeclaration, OWN_CAPSULE, readCapsules } from "../app/capsules.ts";
import { ConfigurationError } from "../app/errors.ts";
import { QUEUE_ORDER_ACCEPTED, readQueueOrder, type ResolvedQueueOrder } from "../app/queue-order.ts";
import type { DeclaredQueue } from "../app/queues.ts";
import { NotAccepted } from "../app/setting-kinds.ts";
import type { QueueOrder } from "../brokers/queue-order.ts";
import type { WorkerOptions } from "./worker-options.ts";

export interface CapsulePlan {
  readonly name: string;
  readonly queues: readonly DeclaredQueue[];
  /** undefined: the worker's own. */
  readonly concurrency: number | undefined;
  /** undefined: in equal shares. */
  readonly order: QueueOrder | undefined;
}

/** The worker's own first, unless every queue is in another. @throws ConfigurationError when no queue is left, or one is in two */
export function planCapsules(app: Lovage, options: WorkerOptions, worker: string): readonly CapsulePlan[] {
  const { routing } = app.calls;
  const excluded = new Set(options.excludeQueues);
  const order = ownOrder(app, options);
  const declared = options.capsules === undefined ? (app.settings.workerCapsules ?? []) : capsulesOf(options.capsules);
  const others = declared
    .map((capsule) => ({ ...capsule, queues: capsule.queues.filter((name) => !excluded.has(name)) }))
    .filter(({ queues }) => queues.length > 0);
  const taken = new Map<string, string>();
  for (const { name, queues } of others) {
    for (const queue of queues) {
      const other = taken.get(queue);
      if (other !== undefined) throw inTwo(queue, other, name);
      taken.set(queue, name);
    }
  }
  const both = options.queues?.find((name) => taken.has(name) && !excluded.has(name));
  if (both !== undefined) throw inTwo(both, taken.get(both) as string, OWN_CAPSULE);
  const chosen = options.queues ? options.queues.map((name) => routing.queue(name)) : routing.declared;
  const own = chosen.filter(({ name }) => !excluded.has(name) && !taken.has(name));
  const plans: CapsulePlan[] = others.map((capsule) => ({
    name: capsule.name,
    queues: capsule.queues.map((name) => routing.queue(name)),
    concurrency: capsule.concurrency,
    order: usual(capsule.order ?? app.settings.workerQueueOrder, capsule.queues.length),
  }));
  if (own.length > 0) plans.unshift({ name: OWN_CAPSULE, queues: own, concurrency: undefined, order: usual(order, own.length) });
  const [first, ...rest] = plans;
  if (first === undefined) throw new ConfigurationError("the worker has no queue to consume from: all are excluded");
  return app.settings.workerDirect ? [{ ...first, queues: [...first.queues, directQueue(worker)] }, ...rest] : plans;
}

function ownOrder(app: Lovage, { queueOrder }: WorkerOptions): ResolvedQueueOrder {
  if (queueOrder === undefined) return app.settings.workerQueueOrder;
  return accepted("queueOrder", QUEUE_ORDER_ACCEPTED, () => readQueueOrder(queueOrder));
}

function capsulesOf(input: NonNullable<WorkerOptions["capsules"]>): readonly CapsuleDeclaration[] {
  return accepted("capsules", "an object of capsules", () => readCapsules(input));
}

function accepted<T>(option: string, accepts: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof NotAccepted)) throw error;
    throw new ConfigurationError(`the worker's option ${option} takes ${accepts}${error.detail === undefined ? "" : `: ${error.detail}`}`);
  }
}

/** One queue needs no order. */
const usual = (order: ResolvedQueueOrder, queues: number): QueueOrder | undefined =>
  order.kind === "fair" || queues < 2 ? undefined : order;

function inTwo(queue: string, one: string, other: string): ConfigurationError {
  return new ConfigurationError(`the queue ${queue} is in two capsules of the worker, ${one} and ${other}: it can be in one`);
}

/** A queue of this worker's own, as Celery names it (celery/utils/nodenames.py, `worker_direct`). */
function directQueue(worker: string): DeclaredQueue {
  const name = `${worker}.dq2`;
  return { name, bindings: [{ name, exchange: "C.dq2", exchangeType: "direct", routingKey: worker }], queueArguments: {} };
}
