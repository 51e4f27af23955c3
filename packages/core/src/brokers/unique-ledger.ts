/**
 * The rules of locks, for stores that are asked row by row: memory and SQLite. Redis has the same in Lua (unique-publish.lua,
 * unique-step.lua). All synchronous: a call is one step of the store.
 */
import type { UniqueRule } from "../protocol/unique.ts";
import type { UniqueAnswer, UniqueLock, UniqueStep } from "./uniques.ts";

export interface UniqueRow<Ref> extends Omit<UniqueLock, "nextTaskId" | "worker"> {
  readonly ttlMs: number;
  /** The worker that runs it without a loan. */
  readonly worker?: string | undefined;
  /** What is parked under this lock: the task itself (debounce), or the next one (last). */
  readonly parked?: Ref | undefined;
  readonly nextTaskId?: string | undefined;
}

export interface UniqueRows<Ref> {
  get(name: string): UniqueRow<Ref> | undefined;
  put(row: UniqueRow<Ref>): void;
  delete(name: string): void;
  isAlive(worker: string): boolean;
  /** Undefined when it is not parked any more. */
  replaceParked(ref: Ref, text: string, dueAt: number): Ref | undefined;
  /** To the back of its queue; false when it is not parked any more. */
  release(ref: Ref): boolean;
}

/** A message as the store is about to take it. */
export interface UniqueMessage<Ref> {
  readonly taskId: string;
  readonly rule: UniqueRule;
  readonly queue: string;
  textFor(taskId: string): string;
  push(): void;
  park(dueAt: number): Ref;
}

export class UniqueLedger<Ref> {
  readonly #rows: UniqueRows<Ref>;

  constructor(rows: UniqueRows<Ref>) {
    this.#rows = rows;
  }

  publish(message: UniqueMessage<Ref>, now: number): UniqueAnswer {
    const { taskId, rule, queue } = message;
    const { mode, name, ttlMs } = rule;
    const row = this.#holder(name, now);
    const own = { name, mode, taskId, queue, since: now, until: now + ttlMs, ttlMs };
    if (row === undefined) {
      if (mode === "debounce") this.#rows.put({ ...own, until: now + rule.waitMs + ttlMs, parked: message.park(now + rule.waitMs) });
      else {
        message.push();
        this.#rows.put(own);
      }
      return { id: taskId, isDuplicate: false };
    }
    if (row.taskId === taskId || row.nextTaskId === taskId) return { id: taskId, isDuplicate: false };
    if (mode === "debounce") return this.#postpone(row, message, now);
    return mode === "last" ? this.#follow(row, message) : { id: row.taskId, isDuplicate: true };
  }

  step({ name, taskId, what }: UniqueStep, now: number): void {
    const row = this.#rows.get(name);
    if (row === undefined || row.taskId !== taskId) return;
    if (what.kind === "own") this.#rows.put({ ...row, worker: what.worker });
    else if (what.kind === "keep") this.#rows.put({ ...row, worker: undefined, until: now + what.ttlMs });
    else this.#free(row, now);
  }

  break(name: string, now: number): string | undefined {
    const row = this.#holder(name, now);
    if (row !== undefined) this.#free(row, now);
    return row?.taskId;
  }

  /** Undefined: the lock is free. */
  #holder(name: string, now: number): UniqueRow<Ref> | undefined {
    const row = this.#rows.get(name);
    if (row === undefined || row.until <= now) return undefined;
    if (row.worker === undefined || this.#rows.isAlive(row.worker)) return row;
    this.#free(row, now);
    return this.#rows.get(name);
  }

  #free({ worker: _, parked, nextTaskId, ...row }: UniqueRow<Ref>, now: number): void {
    if (parked !== undefined && nextTaskId !== undefined && this.#rows.release(parked))
      this.#rows.put({ ...row, taskId: nextTaskId, since: now, until: now + row.ttlMs });
    else this.#rows.delete(row.name);
  }

  #postpone(row: UniqueRow<Ref>, message: UniqueMessage<Ref>, now: number): UniqueAnswer {
    const { waitMs, maxWaitMs, ttlMs } = message.rule;
    const dueAt = Math.min(now + waitMs, maxWaitMs === 0 ? Infinity : row.since + maxWaitMs);
    const parked = row.parked === undefined ? undefined : this.#rows.replaceParked(row.parked, message.textFor(row.taskId), dueAt);
    if (parked !== undefined) {
      this.#rows.put({ ...row, parked, until: dueAt + ttlMs });
      return { id: row.taskId, isDuplicate: true };
    }
    this.#rows.delete(row.name); // it has become due: this call begins anew
    return this.publish(message, now);
  }

  /** The next after the holder: until then it is parked, no longer than the lock lasts. */
  #follow(row: UniqueRow<Ref>, message: UniqueMessage<Ref>): UniqueAnswer {
    const { parked, nextTaskId } = row;
    if (parked !== undefined && nextTaskId !== undefined) {
      const replaced = this.#rows.replaceParked(parked, message.textFor(nextTaskId), row.until);
      if (replaced !== undefined) {
        this.#rows.put({ ...row, parked: replaced });
        return { id: nextTaskId, isDuplicate: true };
      }
    }
    this.#rows.put({ ...row, parked: message.park(row.until), nextTaskId: message.taskId });
    return { id: message.taskId, isDuplicate: false };
  }
}

export function lockOf({ name, mode, taskId, queue, since, until, nextTaskId, worker }: UniqueRow<unknown>): UniqueLock {
  return { name, mode, taskId, queue, since, until, nextTaskId, worker };
}
