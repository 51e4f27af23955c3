/**
 * Runs tasks on the event loop of this thread: for work that waits. Nothing here can stop a body that does not want
 * to: the soft limit aborts its signal; at the hard limit a body that waits is given up, which frees its slot, and
 * what it still does counts for nothing.
 */
import { runAsTask } from "../../app/process-wide.ts";
import { SoftTimeLimitExceeded, TimeLimitExceeded } from "../../protocol/celery-errors.ts";
import type { Clock, Timer } from "../../shared/clock.ts";
import { outcomeOfThrown } from "../outcome.ts";
import type { AbortForce, Pool, PoolEvents, PoolJob } from "./pool.ts";

export class AsyncPool implements Pool {
  readonly kind = "async";
  #slots: number;
  readonly #clock: Clock;
  readonly #hooks: ChildHooks | undefined;
  #events: PoolEvents | undefined;
  #isBegun = false;

  constructor(slots: number, clock: Clock, hooks?: ChildHooks) {
    this.#slots = slots;
    this.#clock = clock;
    this.#hooks = hooks;
  }

  get slots(): number {
    return this.#slots;
  }

  get size(): number {
    return this.#slots;
  }

  /** Here the worker's thread is the only child there is. */
  async start(events?: PoolEvents): Promise<void> {
    this.#events = events;
    this.#isBegun = true;
    await this.#hooks?.run("childStart");
  }

  resize(slots: number): void {
    this.#slots = slots;
    this.#events?.slotsChanged();
  }

  run(job: PoolJob): void {
    let value: unknown;
    try {
      value = runAsTask(job.context, () => job.invoke());
    } catch (thrown) {
      job.done(outcomeOfThrown(thrown));
      return;
    }
    // A task that returned at once is done at once: no promise, no timers.
    if (isThenable(value)) this.#await(job, value);
    else job.done({ kind: "succeeded", value });
  }

  abort(job: PoolJob, reason: Error, force?: AbortForce): void {
    job.abort(reason);
    if (force === "now") job.done({ kind: "failed", error: reason });
  }

  interrupt(job: PoolJob): void {
    job.interrupt();
  }

  async stop(): Promise<void> {
    if (this.#isBegun) await this.#hooks?.run("childStop");
  }

  #await(job: PoolJob, promise: PromiseLike<unknown>): void {
    const limits = job.softTimeLimitMs === undefined && job.timeLimitMs === undefined ? undefined : this.#watch(job);
    promise.then(
      (value) => {
        if (limits === undefined || limits.end()) job.done({ kind: "succeeded", value });
      },
      (thrown: unknown) => {
        if (limits === undefined || limits.end()) job.done(outcomeOfThrown(thrown));
      },
    );
  }

  #watch(job: PoolJob): Limits {
    const { softTimeLimitMs, timeLimitMs } = job;
    const timers: Timer[] = [];
    let isOver = false;
    const end = (): boolean => {
      if (isOver) return false;
      isOver = true;
      for (const timer of timers) timer.cancel();
      return true;
    };
    if (softTimeLimitMs !== undefined) {
      timers.push(
        this.#clock.timer(softTimeLimitMs, () => {
          job.softLimitReached(softTimeLimitMs);
          job.abort(new SoftTimeLimitExceeded(softTimeLimitMs / 1000));
        }),
      );
    }
    if (timeLimitMs !== undefined) {
      timers.push(
        this.#clock.timer(timeLimitMs, () => {
          if (!end()) return;
          job.abort(new TimeLimitExceeded(timeLimitMs / 1000));
          job.done({ kind: "timedOut", limitMs: timeLimitMs });
        }),
      );
    }
    return { end };
  }
}

/** `app.hooks`. */
export interface ChildHooks {
  run(name: "childStart" | "childStop"): Promise<void>;
}

interface Limits {
  /** False when the hard limit has ended it before. */
  end(): boolean;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
