import type { Clock, Timer } from "../shared/clock.ts";

interface Pending {
  readonly dueAt: number;
  readonly order: number;
  readonly fire: () => void;
}

/**
 * A clock whose hands you turn. Starts at 2026-01-01T00:00:00Z unless told otherwise; `monotonic()` starts at 0.
 * `advance` fires the timers that come due, each at its own time and in order, and lets everything that follows from
 * one settle before the next.
 */
export class FakeClock implements Clock {
  readonly #timers = new Set<Pending>();
  #now: number;
  #monotonic = 0;
  #order = 0;

  constructor(startAt = Date.UTC(2026, 0, 1)) {
    this.#now = startAt;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  timer(delayMs: number, fire: () => void): Timer {
    const pending: Pending = { dueAt: this.#monotonic + Math.max(0, delayMs), order: this.#order++, fire };
    this.#timers.add(pending);
    return { cancel: () => void this.#timers.delete(pending) };
  }

  /** Timers that have neither fired nor been cancelled: 0 when nothing is left behind. */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  /** Moves time on by `ms`. Resolves when all that came due has run. */
  async advance(ms: number): Promise<void> {
    const until = this.#monotonic + ms;
    await settled();
    for (let next = this.#next(until); next; next = this.#next(until)) {
      this.#timers.delete(next);
      this.#move(next.dueAt);
      next.fire();
      await settled();
    }
    this.#move(until);
  }

  /** Sets the wall clock without any time passing: what an operator or NTP does. */
  jump(ms: number): void {
    this.#now += ms;
  }

  #next(until: number): Pending | undefined {
    let first: Pending | undefined;
    for (const timer of this.#timers) {
      if (timer.dueAt > until) continue;
      if (!first || timer.dueAt < first.dueAt || (timer.dueAt === first.dueAt && timer.order < first.order)) first = timer;
    }
    return first;
  }

  #move(monotonic: number): void {
    this.#now += monotonic - this.#monotonic;
    this.#monotonic = monotonic;
  }
}

/** Lets promises and `setImmediate` callbacks run, several rounds of them: a batch that closes at the turn of the loop, and what waits for it. */
async function settled(): Promise<void> {
  for (let round = 0; round < 4; round++) await new Promise<void>((resolve) => void setImmediate(resolve));
}
