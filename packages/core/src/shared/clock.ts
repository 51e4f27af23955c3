/**
 * Time and chance, handed in wherever they are used, so that tests can turn the hands.
 * This file and `ids.ts` are the only callers of `Date.now`, `setTimeout` and `Math.random`.
 */
import { onAbort } from "./abort.ts";

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall time, milliseconds since 1970. May jump when the machine's clock is set. */
  now(): number;
  /** Milliseconds since an arbitrary start; never jumps. The same scale in all threads of one machine. */
  monotonic(): number;
  /** Calls `fire` once after `delayMs`. A timer never keeps the process alive when `background` is set. */
  timer(delayMs: number, fire: () => void, options?: { readonly background?: boolean }): Timer;
}

/** A number in [0, 1). */
export type Random = () => number;

/** The longest delay `setTimeout` takes; longer ones are walked in steps. */
const LONGEST_TIMEOUT_MS = 2_147_483_647;

class SystemClock implements Clock {
  now(): number {
    return Date.now();
  }

  monotonic(): number {
    return Number(process.hrtime.bigint() / 1000n) / 1000;
  }

  timer(delayMs: number, fire: () => void, options: { readonly background?: boolean } = {}): Timer {
    let handle: NodeJS.Timeout;
    const arm = (leftMs: number): void => {
      const stepMs = Math.min(leftMs, LONGEST_TIMEOUT_MS);
      handle = setTimeout(() => (leftMs > stepMs ? arm(leftMs - stepMs) : fire()), stepMs);
      if (options.background) handle.unref();
    };
    arm(Math.max(0, delayMs));
    return { cancel: () => clearTimeout(handle) };
  }
}

export const systemClock: Clock = new SystemClock();
export const systemRandom: Random = Math.random;

/**
 * Waits `delayMs`, or rejects with the signal's reason as soon as it aborts.
 */
export async function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const timer = clock.timer(delayMs, () => {
      stopListening?.();
      resolve();
    });
    const stopListening =
      signal &&
      onAbort(signal, () => {
        timer.cancel();
        reject(signal.reason);
      });
  });
}
