/** What a worker is told, and what it tells of itself. */
import type { CapsulesInput } from "../app/capsules.ts";
import type { QueueOrderInput } from "../app/queue-order.ts";
import type { QueuePause } from "../brokers/queue-pauses.ts";
import type { Logger } from "../shared/log.ts";
import type { AutoscaleRange } from "./autoscale.ts";
import type { WorkerState } from "./life.ts";
import type { TaskObserver } from "./observer.ts";

export interface WorkerOptions {
  /** Node name, as Celery's `-n`: `name@host`, with %h (host), %n (name) and %d (domain). Default `celery@%h`. */
  readonly name?: string;
  /** Default: `taskQueues`, else the default queue. */
  readonly queues?: readonly string[];
  /** Not these of the declared ones. */
  readonly excludeQueues?: readonly string[];
  /** In which order it takes from its queues: see the setting `workerQueueOrder`, which is the default. */
  readonly queueOrder?: QueueOrderInput;
  /** Groups of queues with slots of their own. Default: the setting `workerCapsules`. `queues`, `concurrency` and `autoscale` are of the rest. */
  readonly capsules?: CapsulesInput;
  /** Tasks at once. Default: the setting `workerConcurrency`, else 100 in the async pool and one a core in the others. */
  readonly concurrency?: number;
  /** Slots between these two numbers, as the load asks for. Takes the place of `concurrency`. */
  readonly autoscale?: AutoscaleRange;
  /**
   * The module that makes the app: threads and processes of a pool load it to find the tasks. A path, or a `file:` URL.
   * Default: the module that called `new Lovage()`.
   */
  readonly appModule?: string | URL;
  /** Which of its exports is the app. Default: the one with the app's name. */
  readonly appExport?: string;
  /** Discards what is ready in the queues before it starts. */
  readonly purge?: boolean;
  /** Answers `/livez`, `/readyz` and `/metrics` there. Default: the setting `workerHealthPort`, which is none. 0 takes any free port. */
  readonly healthPort?: number;
  /** Default: the app's. */
  readonly logger?: Logger;
  /** Starts quiet: takes nothing until `resume`. */
  readonly quiet?: boolean;
  /** Hear of every task's life. */
  readonly observers?: readonly TaskObserver[];
  /** Hears of every change of its state. Must not throw. */
  readonly onState?: (state: WorkerState) => void;
}

/** What there is of each capsule; of a worker it is the sum. */
export interface SlotStatus {
  /** A message published now would be taken, as far as the broker's answers show. */
  readonly consuming: boolean;
  readonly slots: number;
  /** Bodies that run. */
  readonly running: number;
  /** Messages here that wait for a slot. */
  readonly waiting: number;
  /** Messages here that wait for their ETA. */
  readonly scheduled: number;
  /** Messages on loan, without those that wait for their ETA. */
  readonly onLoan: number;
  /** Bodies begun since the start. */
  readonly processed: number;
}

export interface CapsuleStatus extends SlotStatus {
  /** `default` for the queues that are in no other. */
  readonly name: string;
  readonly queues: readonly string[];
}

export interface WorkerStatus extends SlotStatus {
  readonly state: WorkerState;
  /** Its queues that are paused, as far as it knows. */
  readonly paused: readonly QueuePause[];
  /** One, unless it has capsules. None until it has been started. */
  readonly capsules: readonly CapsuleStatus[];
}
