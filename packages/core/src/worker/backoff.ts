import type { Random } from "../shared/clock.ts";

/** Full jitter: evenly between 0 and `baseMs` x 2^`failures`, at most `maxMs`. `failures` counts from 0. */
export function backoffMs(failures: number, limits: { readonly baseMs: number; readonly maxMs: number }, random: Random): number {
  return random() * Math.min(limits.maxMs, limits.baseMs * 2 ** Math.min(failures, 30));
}
