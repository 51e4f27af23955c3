/**
 * Signals that end a worker. The first TERM or INT asks for a warm stop, a second one or QUIT for a cold one. A second
 * within 500 ms is the same one: a terminal gives Ctrl+C to every process of the group, and npm passes it on once more.
 */
import type { Clock } from "../shared/clock.ts";

export type StopHow = "warm" | "cold";

const SAME_SIGNAL_MS = 500;

/** Decides, signal by signal. Pure but for the clock. */
export function stopDecider(clock: Clock): (signal: NodeJS.Signals) => StopHow | undefined {
  let firstAt: number | undefined;
  return (signal) => {
    if (signal === "SIGQUIT") return "cold";
    if (firstAt === undefined) {
      firstAt = clock.monotonic();
      return "warm";
    }
    return clock.monotonic() - firstAt >= SAME_SIGNAL_MS ? "cold" : undefined;
  };
}

/** On Windows only Ctrl+C and Ctrl+Break reach a process; both stop warm. */
export function onStopSignals(clock: Clock, stop: (how: StopHow, signal: NodeJS.Signals) => void): void {
  const decide = stopDecider(clock);
  const signals: readonly NodeJS.Signals[] = process.platform === "win32" ? ["SIGINT", "SIGBREAK"] : ["SIGTERM", "SIGINT", "SIGQUIT"];
  for (const signal of signals) {
    process.on(signal, () => {
      const how = decide(signal);
      if (how) stop(how, signal);
    });
  }
}
