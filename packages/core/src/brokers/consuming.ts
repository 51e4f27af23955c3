/** What a consumer is told and tells: whose loans it makes, from which queues, and how many. */
import type { QueueOrder } from "./queue-order.ts";
import type { PausedQueues } from "./queue-pauses.ts";

export interface ConsumeOptions {
  /** The worker's name, unique among live workers: loans and leases are kept under it. */
  readonly worker: string;
  readonly credit: Credit;
  readonly signal: AbortSignal;
  /** A batch is cut before it grows beyond this many bytes of envelopes; one message always fits. Default 16 MiB. */
  readonly maxBatchBytes?: number;
  readonly events?: ConsumerEvents;
  /** Queues that nothing is taken from, as long as they are among these. What was on its way when one came in may still be yielded. */
  readonly paused?: PausedQueues | undefined;
  /** Those of the queues whose messages are taken by turns among their keys. Brokers without `fairness` take them as they come. */
  readonly fair?: ReadonlySet<string>;
  /** Default: all queues at one priority step before the next, those of a step in equal shares. */
  readonly order?: QueueOrder | undefined;
}

/** How many more deliveries the worker can take now, and a way to wait until it can take any. */
export interface Credit {
  free(): number;
  /** Resolves when `free()` is above zero. Rejects with the signal's reason. */
  whenFree(signal: AbortSignal): Promise<void>;
}

/** Told, not asked: implementations must not throw. */
export interface ConsumerEvents {
  connected?(): void;
  /** The broker went away; the consumer keeps trying. */
  disconnected?(error: unknown): void;
  /** The broker answered: the consumer is alive. Called at least every few seconds, also while `credit` allows nothing to be taken. */
  alive?(): void;
}
