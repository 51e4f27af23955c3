/**
 * What is not to run, as far as this worker has it in memory: bounded in number and age, as Celery's set is
 * (celery-protocol.md 9). Looking a task up costs nothing while it is empty.
 */
import { isStampMark, stampMarksOf, taskMark } from "../app/revocation-marks.ts";
import type { ReceivedTask } from "../protocol/task-message.ts";
import type { Clock } from "../shared/clock.ts";
import { Fifo } from "./fifo.ts";

type Marked = Pick<ReceivedTask, "id" | "stamps">;

interface Kept {
  /** When it is forgotten, by the monotonic clock. */
  readonly until: number;
  /** Of the addition. */
  readonly number: number;
}

/** Additions in their order that were followed by a later one of the same mark are cleared away when there are so many. */
const STALE_MAX = 1000;

export class RevokedTasks {
  readonly #clock: Clock;
  readonly #max: number;
  readonly #kept = new Map<string, Kept>();
  /** The oldest first. Not the order of the map: to find its first entry V8 walks over all that were deleted before it. */
  #order = new Fifo<{ readonly mark: string; readonly number: number }>();
  #additions = 0;
  #stamps = 0;
  #partialUntil = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, { max }: { readonly max: number }) {
    this.#clock = clock;
    this.#max = max;
  }

  get size(): number {
    return this.#kept.size;
  }

  get isEmpty(): boolean {
    return this.#kept.size === 0;
  }

  /** Some that are still in force had to make room: not finding a task here says nothing. */
  get isPartial(): boolean {
    return this.#partialUntil > this.#clock.monotonic();
  }

  /** One that is there already is kept for the longer of both times: the same revoke is heard of and read, in any order. */
  add(mark: string, leftMs: number): void {
    const now = this.#clock.monotonic();
    const known = this.#kept.get(mark);
    const number = ++this.#additions;
    this.#kept.set(mark, { until: Math.max(known?.until ?? 0, now + leftMs), number });
    this.#order.push({ mark, number });
    if (known === undefined && isStampMark(mark)) this.#stamps += 1;
    this.#makeRoom(now);
  }

  #makeRoom(now: number): void {
    for (let oldest = this.#order.peek(); oldest !== undefined; oldest = this.#order.peek()) {
      const kept = this.#kept.get(oldest.mark);
      if (kept?.number === oldest.number) {
        if (kept.until > now && this.#kept.size <= this.#max) break;
        if (kept.until > now) this.#partialUntil = Math.max(this.#partialUntil, kept.until);
        this.#kept.delete(oldest.mark);
        if (isStampMark(oldest.mark)) this.#stamps -= 1;
      }
      this.#order.shift();
    }
    if (this.#order.size > 2 * this.#kept.size + STALE_MAX)
      this.#order.takeWhere(({ mark, number }) => this.#kept.get(mark)?.number !== number);
  }

  has(task: Marked): boolean {
    if (this.#kept.size === 0) return false;
    return this.#isIn(taskMark(task.id)) || (this.#stamps > 0 && stampMarksOf(task).some((mark) => this.#isIn(mark)));
  }

  /** All that are in force, the oldest first. */
  *marks(): IterableIterator<string> {
    const now = this.#clock.monotonic();
    for (const { mark, number } of this.#order) {
      const kept = this.#kept.get(mark);
      if (kept?.number === number && kept.until > now) yield mark;
    }
  }

  #isIn(mark: string): boolean {
    const kept = this.#kept.get(mark);
    return kept !== undefined && kept.until > this.#clock.monotonic();
  }
}
