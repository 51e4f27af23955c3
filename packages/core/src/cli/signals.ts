/**
 * What signals ask of a worker. TERM and INT ask for a warm stop, QUIT for a soft one, which is cold unless
 * `worker_soft_shutdown_timeout` is set; a further one hurries the stop (`worker/life.ts`). TSTP makes a worker quiet
 * and CONT resumes it, until it is told to stop. A second stop signal within 500 ms is the same one: a terminal gives Ctrl+C to every process of
 * the group, and npm passes it on once more.
 */
import type { Clock } from "../shared/clock.ts";
import { UsageError } from "./errors.ts";

export type StopAsk = "warm" | "soft";
export type SignalAsk = StopAsk | "quiet" | "resume";

const SAME_SIGNAL_MS = 500;
const REMAPPED = ["SIGTERM", "SIGINT", "SIGQUIT"] as const;

/** Celery's `REMAP_SIGTERM`: the signal that TERM stands for, such as `SIGQUIT`. */
export type TermMeans = (typeof REMAPPED)[number];

/** @throws UsageError for a signal that stops no worker */
export function readRemap(env: Readonly<Record<string, string | undefined>>): TermMeans {
  const { REMAP_SIGTERM: name } = env;
  if (name === undefined || name === "") return "SIGTERM";
  const found = REMAPPED.find((each) => each === name);
  if (found === undefined) throw new UsageError(`REMAP_SIGTERM is "${name}"`, `it takes one of ${REMAPPED.join(", ")}`);
  return found;
}

/** Decides, signal by signal. Pure but for the clock. */
export function signalDecider(clock: Clock, termMeans: TermMeans): (signal: NodeJS.Signals) => SignalAsk | undefined {
  let last: { readonly at: number; readonly ask: StopAsk } | undefined;
  return (received) => {
    // `timeout` and systemd send CONT after each stop signal, to wake what stands still: a worker that stops has nothing to resume.
    if (received === "SIGTSTP" || received === "SIGCONT") return last ? undefined : received === "SIGTSTP" ? "quiet" : "resume";
    const signal = received === "SIGTERM" ? termMeans : received;
    const ask = signal === "SIGQUIT" ? "soft" : "warm";
    const isSame = last !== undefined && clock.monotonic() - last.at < SAME_SIGNAL_MS && !(ask === "soft" && last.ask === "warm");
    if (isSame) return undefined;
    last = { at: clock.monotonic(), ask };
    return ask;
  };
}

/** On Windows only Ctrl+C and Ctrl+Break reach a process; both stop warm. */
export function onSignals(clock: Clock, termMeans: TermMeans, tell: (ask: SignalAsk, signal: NodeJS.Signals) => void): void {
  const decide = signalDecider(clock, termMeans);
  const signals: readonly NodeJS.Signals[] =
    process.platform === "win32" ? ["SIGINT", "SIGBREAK"] : ["SIGTERM", "SIGINT", "SIGQUIT", "SIGTSTP", "SIGCONT"];
  for (const signal of signals) {
    process.on(signal, () => {
      const ask = decide(signal);
      if (ask) tell(ask, signal);
    });
  }
}
