import type { DueCallback } from "../results/batches.ts";
import type { ResultBackend } from "../results/result-backend.ts";
import type { Outgoing } from "./publishing.ts";

export interface DueCallbacks {
  /**
   * Publishes what is due, in the step that removes the record of it. False: it was not due any more, nothing was done.
   * Waits out a broker's absence; rejects when `signal` aborts, or for what the broker will never take.
   */
  publish(due: DueCallback, messages: readonly Outgoing[], options: PublishDueOptions): Promise<boolean>;
}

export interface PublishDueOptions {
  /** Where the record is; a backend for which `settlesWith` is true. */
  readonly backend: ResultBackend;
  /** The queue of messages that no queue is bound for. */
  readonly home: string;
  readonly signal: AbortSignal;
}
