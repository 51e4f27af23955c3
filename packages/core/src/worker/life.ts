/**
 * The states of a worker, and what moves it from one to the next. Pure: `worker.ts` does what a state asks for,
 * `cli/supervise.ts` follows along to know how long a worker process may take. The picture is in docs/shutdown.md.
 *
 * new -> starting -> running <-> quiet (takes nothing, has given back what had not started; what runs goes on)
 * running, quiet -> warm  (as quiet, and waits for what runs, at most `shutdownGrace`)
 *                -> soft  (the same, at most `workerSoftShutdownTimeout`; there only if that is above 0, else it is cold)
 *                -> cold  (tells what runs to end, waits two seconds, gives back the rest)
 * warm -> soft or cold, soft -> cold: when it is asked once more, or when the wait is over and something still runs
 * any of them -> stopped
 *
 * Invariant: no event leads back from a state that stops, and none makes the wait longer.
 */
export type WorkerState = "new" | "starting" | "running" | "quiet" | "warm" | "soft" | "cold" | "stopped";

/** How long what runs is waited for: `shutdownGrace`, `workerSoftShutdownTimeout`, not at all. */
export type StopHow = "warm" | "soft" | "cold";

export type LifeEvent =
  | "start"
  /** It consumes, for the first time. */
  | "ready"
  | "quiet"
  | "resume"
  /** It is asked to stop so; asked the same again, it hurries. */
  | StopHow
  /** What was waited for still runs. */
  | "waited"
  | "ended";

/** @param hasSoft whether `workerSoftShutdownTimeout` is above 0 */
export function nextState(state: WorkerState, event: LifeEvent, hasSoft: boolean): WorkerState {
  switch (event) {
    case "start":
      return state === "new" ? "starting" : state;
    case "ready":
      return state === "starting" ? "running" : state;
    case "quiet":
      return state === "running" ? "quiet" : state;
    case "resume":
      return state === "quiet" ? "running" : state;
    case "waited":
      return isWaiting(state) ? "cold" : state;
    case "ended":
      return "stopped";
    case "warm":
      return state === "stopped" ? state : isStopping(state) ? hurried(state, hasSoft) : "warm";
    case "soft":
      return state === "stopped" ? state : isStopping(state) ? hurried(state, hasSoft) : softOrCold(hasSoft);
    case "cold":
      return state === "stopped" ? state : "cold";
  }
}

/** Nothing is taken any more, for good. */
export function isStopping(state: WorkerState): state is "warm" | "soft" | "cold" {
  return state === "cold" || isWaiting(state);
}

/** What runs is waited for. */
export function isWaiting(state: WorkerState): state is "warm" | "soft" {
  return state === "warm" || state === "soft";
}

function hurried(state: "warm" | "soft" | "cold", hasSoft: boolean): WorkerState {
  return state === "warm" ? softOrCold(hasSoft) : "cold";
}

function softOrCold(hasSoft: boolean): WorkerState {
  return hasSoft ? "soft" : "cold";
}
