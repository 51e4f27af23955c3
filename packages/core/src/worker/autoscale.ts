/**
 * How many slots a worker has between two numbers: more at once when all are taken, fewer when some have stood free
 * for a while. Pure: what was seen and the time in, slots out. After Celery, worker/autoscale.py.
 */
export interface AutoscaleRange {
  readonly max: number;
  readonly min: number;
}

/** `AUTOSCALE_KEEPALIVE`: slots that have not been used for that long go. */
const KEEP_MS = 30_000;

export class Autoscale {
  readonly #range: AutoscaleRange;
  /** The most that ran at once since `#since`. */
  #peak = 0;
  #since: number;

  constructor(range: AutoscaleRange, now: number) {
    this.#range = range;
    this.#since = now;
  }

  /**
   * Looked at every second or so.
   * @param slots as they are now
   * @param running bodies that run, @param waiting messages here that wait for a slot
   * @param now by the monotonic clock
   */
  next(slots: number, running: number, waiting: number, now: number): number {
    const { max, min } = this.#range;
    const needed = running + waiting;
    this.#peak = Math.max(this.#peak, needed);
    if (needed >= slots && slots < max) {
      this.#restart(needed, now);
      return Math.min(max, Math.max(slots * 2, min)); // doubling finds the load within a few looks
    }
    if (now - this.#since < KEEP_MS) return Math.min(max, Math.max(min, slots));
    const fewer = Math.min(max, Math.max(min, Math.min(slots, this.#peak)));
    this.#restart(needed, now);
    return fewer;
  }

  #restart(needed: number, now: number): void {
    this.#peak = needed;
    this.#since = now;
  }
}
