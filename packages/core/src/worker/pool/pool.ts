/**
 * Where bodies of tasks run. A pool knows nothing of brokers, results or acks: a job goes in, an outcome comes out.
 * Every job that was given to `run` ends with exactly one `done`, whatever happens to the thing that runs it.
 */
import type { Iterated } from "../../app/iteration.ts";
import type { ResultTuple } from "../../canvas/result-tuple.ts";
import type { TaskContext } from "../../app/task-context.ts";
import type { PoolName } from "../../app/task-options.ts";
import type { Outcome } from "../outcome.ts";

export interface Pool {
  readonly kind: PoolName;
  /** Jobs at once, now. The caller never gives it more. It changes while children come and go. */
  readonly slots: number;
  /** Slots it is to have: `slots` once all its children are there. */
  readonly size: number;
  /** Resolves when all its slots are there. Rejects, and leaves nothing behind, when they cannot be. */
  start(events: PoolEvents): Promise<void>;
  /** `job.done` may be called before this returns. */
  run(job: PoolJob): void;
  /** Asks a job to end: its signal aborts with `reason`. */
  abort(job: PoolJob, reason: Error, force?: AbortForce): void;
  /** Asks a job to end after the step that its iteration is at. One that has no iteration takes no notice. */
  interrupt(job: PoolJob): void;
  /** Runs the hooks that follow a body, where the body ran. undefined: that place is gone, or is the caller's own. */
  runEndHooks?(job: PoolJob, outcome: Outcome): Promise<void> | undefined;
  /** Grows or shrinks; what runs is not disturbed. */
  resize(slots: number): void;
  /** Leaves no thread and no process behind. Jobs that still run end with it. */
  stop(): Promise<void>;
}

/**
 * What follows for a job that does not heed its signal. `none`: nothing. `later`, the default: a pool that can kill does
 * so after a while. `now`: it is killed at once, or given up where nothing can be killed, and comes to `failed` with the reason.
 */
export type AbortForce = "none" | "later" | "now";

export interface PoolEvents {
  /** `slots` has changed. */
  slotsChanged(): void;
  /** It cannot go on: its children do not start any more. */
  failed(error: unknown): void;
}

export interface PoolJob {
  /** Facts for the task, and the means it has. Made on first use. */
  readonly context: TaskContext;
  readonly softTimeLimitMs: number | undefined;
  readonly timeLimitMs: number | undefined;
  /** Hooks run after its body, so its place is kept for them. */
  readonly hasEndHooks: boolean;
  /** Aborts the task's signal. */
  abort(reason: Error): void;
  /** Binds the message's arguments and calls the task's function. May throw, at once or later. */
  invoke(): unknown;
  softLimitReached(limitMs: number): void;
  /** A state told by a body that runs elsewhere. Resolves when it is stored. Never rejects. */
  storeState(state: string, meta: unknown): Promise<void>;
  /** Writes into its message how far its iterations have come. Resolves when that is done. Never rejects. */
  checkpoint(text: string): Promise<void>;
  /** Told by a body that runs elsewhere, with its checkpoints and at its end. */
  noteIterated(iterated: Iterated): void;
  /** Told before `done` by a batch that ran elsewhere: what became of each of its messages. */
  noteEach(outcomes: readonly Outcome[]): void;
  /** Asks its iteration to stop after the step that it is at. */
  interrupt(): void;
  /** A task that was sent by a body that runs elsewhere. */
  addChild(child: ResultTuple): void;
  done(outcome: Outcome): void;
}
