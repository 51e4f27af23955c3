/** Waits for an answer only while this process can hear it. */
import type { Clock, Timer } from "../../shared/clock.ts";

const STEPS = 10;

/**
 * Calls `act` after so many ms, of which those do not count in which a task blocked the event loop or the process was stopped: what
 * has come meanwhile lies in the socket, and timers run before sockets are read.
 */
export function listenFor(clock: Clock, ms: number, act: () => void): Timer {
  let left = STEPS;
  const step = (): Timer =>
    clock.timer(ms / STEPS, () => {
      left -= 1;
      if (left === 0) act();
      else timer = step();
    });
  let timer = step();
  return { cancel: () => timer.cancel() };
}
