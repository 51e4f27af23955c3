/**
 * What is not to run, as far as this worker has it in memory: bounded in number and age, as Celery's set is
 * (celery-protocol.md 9). Looking a task up costs nothing while it is empty.
 */
import { isStampMark, stampMarksOf, taskMark } from "../app/revocation-marks.ts";
import type { ReceivedTask } from "../protocol/task-message.ts";
import type { Clock } from "../shared/clock.ts";

type Marked = Pick<ReceivedTask, "id" | "stamps">;

export class RevokedTasks {
  readonly #clock: Clock;
  readonly #max: number;
  /** Mark -> when it is forgotten, by the monotonic clock; the oldest first. */
  readonly #until = new Map<string, number>();
  #stamps = 0;
  #partialUntil = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, { max }: { readonly max: number }) {
    this.#clock = clock;
    this.#max = max;
  }

  get size(): number {
    return this.#until.size;
  }

  get isEmpty(): boolean {
    return this.#until.size === 0;
  }

  /** Some that are still in force had to make room: not finding a task here says nothing. */
  get isPartial(): boolean {
    return this.#partialUntil > this.#clock.monotonic();
  }

  add(mark: string, leftMs: number): void {
    const now = this.#clock.monotonic();
    this.#delete(mark); // to the end
    this.#until.set(mark, now + leftMs);
    if (isStampMark(mark)) this.#stamps += 1;
    for (const [oldest, until] of this.#until) {
      if (this.#until.size <= this.#max && until > now) return;
      if (until > now) this.#partialUntil = Math.max(this.#partialUntil, until);
      this.#delete(oldest);
    }
  }

  has(task: Marked): boolean {
    if (this.#until.size === 0) return false;
    return this.#isIn(taskMark(task.id)) || (this.#stamps > 0 && stampMarksOf(task).some((mark) => this.#isIn(mark)));
  }

  /** All that are in force, the oldest first. */
  *marks(): IterableIterator<string> {
    const now = this.#clock.monotonic();
    for (const [mark, until] of this.#until) if (until > now) yield mark;
  }

  #isIn(mark: string): boolean {
    const until = this.#until.get(mark);
    return until !== undefined && until > this.#clock.monotonic();
  }

  #delete(mark: string): void {
    if (this.#until.delete(mark) && isStampMark(mark)) this.#stamps -= 1;
  }
}
