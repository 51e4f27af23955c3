/** Spaces the starts of a task evenly: so many a second in this worker, whatever came before (a token bucket that holds one token, as Celery's). */
export class RateLimiter {
  /** Task name -> when the next one may start, ms by the caller's clock. */
  readonly #nextAt = new Map<string, number>();
  /** Task name -> when the last of those that were sent away may come back. */
  readonly #backAt = new Map<string, number>();

  /** When a message of this task that came now may start; that time is then taken. */
  reserve(task: string, perSecond: number, now: number): number {
    const startAt = Math.max(now, this.#nextAt.get(task) ?? now);
    this.#nextAt.set(task, startAt + 1000 / perSecond);
    return startAt;
  }

  /** When a message that is sent away now should come back: about when its turn would be. It takes no start. */
  comeBackAt(task: string, perSecond: number, now: number): number {
    const backAt = Math.max(now, this.#nextAt.get(task) ?? now, this.#backAt.get(task) ?? now) + 1000 / perSecond;
    this.#backAt.set(task, backAt);
    return backAt;
  }

  /** Starts that were taken are free again: its rate has changed. */
  forget(task: string): void {
    this.#nextAt.delete(task);
    this.#backAt.delete(task);
  }
}
