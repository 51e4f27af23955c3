/**
 * Where bodies of tasks run. A pool knows nothing of brokers, results or acks: a job goes in, an outcome comes out.
 * Every job that was given to `run` ends with exactly one `done`, whatever happens to the thing that runs it.
 */
import type { TaskContext } from "../../app/task-context.ts";
import type { PoolName } from "../../app/task-options.ts";
import type { Outcome } from "../outcome.ts";

export interface Pool {
  readonly kind: PoolName;
  /** Jobs at once. The caller never gives it more. */
  readonly slots: number;
  start(): Promise<void>;
  /** `job.done` may be called before this returns. */
  run(job: PoolJob): void;
  /** Asks a job to end: its signal aborts with `reason`. A pool that can kill does so after a while. */
  abort(job: PoolJob, reason: Error): void;
  stop(): Promise<void>;
}

export interface PoolJob {
  /** Facts for the task, and the means it has. Made on first use. */
  readonly context: TaskContext;
  readonly softTimeLimitMs: number | undefined;
  readonly timeLimitMs: number | undefined;
  /** Aborts the task's signal. */
  abort(reason: Error): void;
  /** Binds the message's arguments and calls the task's function. May throw, at once or later. */
  invoke(): unknown;
  softLimitReached(limitMs: number): void;
  done(outcome: Outcome): void;
}
