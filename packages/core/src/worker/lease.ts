/**
 * The lease as both the guard and the main thread see it: a few numbers in shared memory. Times are milliseconds of
 * the monotonic clock, which is one for all threads, counted from when the memory was made.
 *
 * States, seen from the main thread: none (no lease yet) -> sure (its end is ahead by more than the margin) -> unsure
 * (it may have run out: start nothing; what runs goes on) -> sure again, when the broker has answered in time, or
 * lost (the broker said that it gave our loans away; `losses` was raised) and then sure under a new lease.
 */
const END = 0;
const LOSSES = 1;
const OFFSET = 2;
const WORDS = 3;

/** This part of a lease is kept as a margin between the last start of a body and the lease's end. */
const MARGIN = 1 / 8;

export class Lease {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  /** By the monotonic clock, when this memory was made. */
  readonly startedAt: number;
  readonly #marginMs: number;

  constructor(options: { readonly leaseMs: number; readonly startedAt: number; readonly memory?: SharedArrayBuffer }) {
    this.memory = options.memory ?? new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT);
    this.#words = new Int32Array(this.memory);
    this.startedAt = options.startedAt;
    this.#marginMs = options.leaseMs * MARGIN;
  }

  /** Whether a body may start at `monotonic`: nobody can have taken its message yet. */
  isSure(monotonic: number): boolean {
    const end = Atomics.load(this.#words, END);
    return end !== 0 && this.#left(end, monotonic) > this.#marginMs;
  }

  /** Until the lease runs out, ms; negative once it has. undefined: there is none. */
  leftMs(monotonic: number): number | undefined {
    const end = Atomics.load(this.#words, END);
    return end === 0 ? undefined : this.#left(end, monotonic);
  }

  /** Whether there ever was one under this memory: also before a guard that began anew. */
  get hasBegun(): boolean {
    return Atomics.load(this.#words, END) !== 0 || this.losses > 0;
  }

  /** How often the broker has said that the lease had been lost. */
  get losses(): number {
    return Atomics.load(this.#words, LOSSES);
  }

  /** The broker's clock minus ours, ms. */
  get clockOffsetMs(): number {
    return Atomics.load(this.#words, OFFSET);
  }

  /** `end`: by the monotonic clock. */
  extend(end: number): void {
    Atomics.store(this.#words, END, this.#toWord(end));
  }

  lose(): void {
    Atomics.store(this.#words, END, 0);
    Atomics.add(this.#words, LOSSES, 1);
  }

  setClockOffset(offsetMs: number): void {
    Atomics.store(this.#words, OFFSET, Math.round(Math.max(-0x7fffffff, Math.min(0x7fffffff, offsetMs))));
  }

  /** Differences of 32-bit milliseconds: right as long as the two are less than 24 days apart. */
  #left(end: number, monotonic: number): number {
    return (end - this.#toWord(monotonic)) | 0;
  }

  #toWord(monotonic: number): number {
    const word = Math.floor(monotonic - this.startedAt) | 0;
    return word === 0 ? 1 : word; // 0 stands for "no lease"
  }
}
