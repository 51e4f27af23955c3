/** Ids of tasks that are not to run. Bounded in number and age, as Celery's set is (celery-protocol.md 9). */
import type { Clock } from "../shared/clock.ts";

export class RevokedTasks {
  readonly #clock: Clock;
  readonly #max: number;
  readonly #expiresMs: number;
  /** Id -> when it is forgotten, by the monotonic clock; the oldest first. */
  readonly #until = new Map<string, number>();

  constructor(clock: Clock, limits: { readonly max: number; readonly expiresMs: number }) {
    this.#clock = clock;
    this.#max = limits.max;
    this.#expiresMs = limits.expiresMs;
  }

  get size(): number {
    return this.#until.size;
  }

  add(taskId: string): void {
    const now = this.#clock.monotonic();
    this.#until.delete(taskId); // to the end: its time begins anew
    this.#until.set(taskId, now + this.#expiresMs);
    for (const [id, until] of this.#until) {
      if (this.#until.size <= this.#max && until > now) return;
      this.#until.delete(id);
    }
  }

  has(taskId: string): boolean {
    if (this.#until.size === 0) return false;
    const until = this.#until.get(taskId);
    return until !== undefined && until > this.#clock.monotonic();
  }
}
