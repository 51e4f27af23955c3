/**
 * Lets what has gathered during an outage go a little at a time, so that a server that has just come back is not met by
 * everything at once: in each step of the ramp twice as much as in the one before.
 * A process with little to send does not notice it; 1,000 messages take a second, 30,000 two.
 */
import { type Clock, type Random, sleep } from "../../shared/clock.ts";

/** So many may go at once. */
const FIRST = 32;
const STEP_MS = 200;
/** From then on everything goes: 2^15 times the first step. */
const LENGTH_MS = 3000;

export class Ramp {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #startedAt: number;
  #passed = 0;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
    this.#startedAt = clock.monotonic();
  }

  get isOver(): boolean {
    return this.#clock.monotonic() - this.#startedAt >= LENGTH_MS;
  }

  /** Resolves when `count` more may go. Rejects with the signal's reason. */
  async pass(count: number, signal?: AbortSignal): Promise<void> {
    const delayMs = this.delay(count);
    if (delayMs > 0) await sleep(this.#clock, delayMs, signal);
  }

  /** Takes its place: how long `count` more have to wait. What stands before them decides, so that any number passes in the end. */
  delay(count: number): number {
    const before = this.#passed;
    this.#passed += count;
    if (before < FIRST) return 0;
    const atMs = STEP_MS * Math.log2(before / FIRST) + STEP_MS * this.#random();
    return Math.max(0, Math.min(atMs, LENGTH_MS) - (this.#clock.monotonic() - this.#startedAt));
  }
}
