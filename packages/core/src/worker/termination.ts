/**
 * What a signal name of Celery's `revoke(terminate=True, signal=...)` means where tasks are not processes of their own.
 * There it is sent to the process that runs the task; here it says how much time the task has.
 */
import { constants } from "node:os";

export interface Termination {
  readonly signum: number;
  /** `ask`: its signal aborts, and it is killed if it still runs a moment later. `kill`: at once. `soft`: as its soft time limit does. */
  readonly force: "ask" | "kill" | "soft";
}

const SIGNALS: Readonly<Record<string, number>> = constants.signals;

/** undefined: no signal has that name or number. As Celery reads them: `TERM`, `SIGTERM`, `sigterm`, 15. */
export function readTermination(signal: unknown = "SIGTERM"): Termination | undefined {
  const name = typeof signal === "number" ? nameOf(signal) : typeof signal === "string" ? fullName(signal) : undefined;
  const signum = name === undefined ? undefined : SIGNALS[name];
  if (signum === undefined) return undefined;
  if (name === "SIGKILL") return { signum, force: "kill" };
  return { signum, force: name === "SIGUSR1" ? "soft" : "ask" }; // billiard's processes take USR1 as their soft limit
}

function fullName(text: string): string | undefined {
  const upper = text.toUpperCase();
  const name = upper.startsWith("SIG") ? upper : `SIG${upper}`;
  return Object.hasOwn(SIGNALS, name) ? name : undefined;
}

function nameOf(signum: number): string | undefined {
  return Object.keys(SIGNALS).find((name) => SIGNALS[name] === signum);
}
