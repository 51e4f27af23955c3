/**
 * How many deliveries the worker may take now. A slot is free when its body has ended; its settlement may still be on
 * the way. So two numbers are bounded: what runs or waits for a slot, and what is on loan.
 */
import type { Credit } from "../brokers/broker.ts";

export interface CreditLimits {
  /** What runs or waits for a slot at most: the slots, unless more was asked for (`workerPrefetchMultiplier`). */
  readonly busy: number;
  /** Loans at most. What a crash repeats is bounded by it. */
  readonly held: number;
}

/** So many are worth a call of their own, at once: while the broker lends, the worker does what it has. */
const WORTH_A_CALL = 64;

interface Waiter {
  readonly resolve: () => void;
}

export class LoanCredit implements Credit {
  #limits: CreditLimits;
  /** Running, or waiting for a slot. */
  #busy = 0;
  /** Taken and not settled yet, whatever it waits for. Messages that wait for their ETA are bounded elsewhere. */
  #held = 0;
  /** What may be taken besides, for batches that are open. */
  #room = 0;
  #closed = false;
  #waiters: Waiter[] = [];
  #waking = false;
  /** Slots and loans, since somebody was last woken. */
  #freed = 0;

  constructor(limits: CreditLimits) {
    this.#limits = limits;
  }

  get busy(): number {
    return this.#busy;
  }

  get held(): number {
    return this.#held;
  }

  free(): number {
    if (this.#closed) return 0;
    const free = Math.min(this.#limits.busy - this.#busy, this.#limits.held - this.#held);
    return free <= 0 ? 0 : free + this.#room;
  }

  /** What is taken already stays; below it nothing more is. */
  resize(limits: CreditLimits): void {
    this.#limits = limits;
    this.#wake();
  }

  whenFree(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(signal.reason as Error);
    if (this.free() > 0) return Promise.resolve();
    return new Promise<void>((resolve, reject) => {
      const waiter = {
        resolve: () => {
          signal.removeEventListener("abort", onAbort);
          resolve();
        },
      };
      const onAbort = (): void => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(signal.reason as Error);
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#waiters.push(waiter);
    });
  }

  /** An open batch can take so many more, or, below zero, fewer than it said. */
  addRoom(count: number): void {
    this.#room += count;
  }

  /** A delivery came: it is on loan and wants a slot. */
  take(): void {
    this.#busy += 1;
    this.#held += 1;
  }

  /** Its body ended, or it will not run now. */
  freeSlot(): void {
    this.#busy -= 1;
    this.#wake();
  }

  /** It is to run after all: it waited for something that needs no slot. */
  wantSlot(): void {
    this.#busy += 1;
  }

  /** Its loan ended, or no longer counts because it waits for its ETA. */
  freeLoan(): void {
    this.#held -= 1;
    this.#wake();
  }

  wantLoan(): void {
    this.#held += 1;
  }

  /** No more: `free()` is 0 from now on. */
  close(): void {
    this.#closed = true;
  }

  /** Once a turn of the event loop, so that what ends in one turn is asked for together; sooner when much has. */
  #wake(): void {
    if (this.#waiters.length === 0) return;
    if (++this.#freed >= WORTH_A_CALL) return this.#wakeNow();
    if (this.#waking) return;
    this.#waking = true;
    setImmediate(() => {
      this.#waking = false;
      this.#wakeNow();
    });
  }

  #wakeNow(): void {
    this.#freed = 0;
    if (this.free() === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.resolve();
  }
}
