/** Milliseconds since the machine started, to the microsecond: the same clock in every process, Python's `time.monotonic()` too. */
export function nowMs() {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

/** User and system time of this process with all its threads, in microseconds. */
export function cpuMicros() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks again and again until the answer is true. Rejects after `timeoutMs`, naming what was waited for. */
export async function until(what, check, { everyMs = 1, timeoutMs = 60_000 } = {}) {
  const deadline = nowMs() + timeoutMs;
  while (!(await check())) {
    if (nowMs() > deadline) throw new Error(`gave up waiting for ${what} after ${timeoutMs / 1000} s`);
    await sleep(everyMs);
  }
}
