import { type Clock, sleep } from "../shared/clock.ts";

/** Waits for `promise`, at most `deadlineMs`. Rejects only as `promise` does. */
export async function within(clock: Clock, deadlineMs: number, promise: Promise<unknown>): Promise<void> {
  const enough = new AbortController();
  try {
    await Promise.race([promise, sleep(clock, deadlineMs, enough.signal).catch(() => undefined)]);
  } finally {
    enough.abort();
  }
}
