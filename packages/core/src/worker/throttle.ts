/**
 * Celery's `rate_limit`: so many starts of a task in this worker. What is ready and must wait keeps its loan and needs no
 * slot; beyond a number it goes back to the broker until about its turn, so that a slow task does not use up the loans.
 */
import type { Clock } from "../shared/clock.ts";
import { DueHeap } from "./eta.ts";
import { RateLimiter } from "./rate-limit.ts";
import type { Request } from "./request.ts";

export interface ThrottleDeps {
  readonly clock: Clock;
  /** ms since 1970, by the broker's clock. */
  readonly brokerNow: () => number;
  /** `workerDisableRateLimits`. */
  readonly isOff: boolean;
  /** Messages that wait here at most; what comes beyond is parked, where the broker can. */
  readonly waitMax: number;
  /** It may start. It has a loan and counts as busy. */
  start(requests: readonly Request[]): void;
  /** It waits here, and counts as busy no more until `start`. */
  waits(): void;
  /** undefined: the broker cannot. */
  readonly park: ((request: Request, dueAt: number) => void) | undefined;
}

export class Throttle {
  readonly #deps: ThrottleDeps;
  readonly #waiting: DueHeap<Request>;
  readonly #limiter = new RateLimiter();
  /** By remote control: in place of the task's own; 0 is no limit. */
  readonly #changed = new Map<string, number>();

  constructor(deps: ThrottleDeps) {
    this.#deps = deps;
    this.#waiting = new DueHeap(deps.clock, deps.brokerNow, (due) => deps.start(due));
  }

  /** Whether it may start now. If not it is kept here, or parked. */
  pass(request: Request): boolean {
    const perSecond = this.#rateOf(request);
    if (perSecond === undefined) return true;
    const { task } = request.received;
    const now = this.#deps.brokerNow();
    if (this.#deps.park && this.#waiting.size >= this.#deps.waitMax) {
      this.#deps.park(request, this.#limiter.comeBackAt(task, perSecond, now));
      return false;
    }
    const startAt = this.#limiter.reserve(task, perSecond, now);
    if (startAt <= now) return true;
    this.#deps.waits();
    this.#waiting.add(startAt, request);
    return false;
  }

  /** Starts per second from now on, 0 for no limit. What waits here waits by the new rate. */
  change(task: string, perSecond: number): void {
    this.#changed.set(task, perSecond);
    this.#limiter.forget(task);
    const now = this.#deps.brokerNow();
    const waiting = this.#waiting.takeWhere(({ received }) => received.task === task);
    const free: Request[] = [];
    for (const request of waiting) {
      const startAt = perSecond === 0 ? now : this.#limiter.reserve(task, perSecond, now);
      if (startAt <= now) free.push(request);
      else this.#waiting.add(startAt, request);
    }
    if (free.length > 0) this.#deps.start(free);
  }

  /** Takes out all that match. */
  takeWhere(matches: (request: Request) => boolean): Request[] {
    return this.#waiting.takeWhere(matches);
  }

  /** Takes everything out, what would have started first in front. */
  clear(): Request[] {
    return this.#waiting.clear();
  }

  #rateOf({ received, options }: Request): number | undefined {
    if (this.#deps.isOff) return undefined;
    if (this.#changed.size === 0) return options.ratePerSecond;
    return (this.#changed.get(received.task) ?? options.ratePerSecond) || undefined;
  }
}
