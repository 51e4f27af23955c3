/** States of a task, as results and events name them. Any other text is a state of the application's own. */
export type KnownState = "PENDING" | "RECEIVED" | "STARTED" | "SUCCESS" | "FAILURE" | "RETRY" | "REVOKED" | "REJECTED" | "IGNORED";

export const READY_STATES: ReadonlySet<string> = new Set(["SUCCESS", "FAILURE", "REVOKED"]);
/** In these the result is an exception document. */
export const EXCEPTION_STATES: ReadonlySet<string> = new Set(["FAILURE", "RETRY", "REVOKED"]);

export function isReady(state: string): boolean {
  return READY_STATES.has(state);
}

/** Highest first; a state of an application's own ranks between FAILURE and REVOKED (celery/states.py, PRECEDENCE). */
const PRECEDENCE = ["SUCCESS", "FAILURE", undefined, "REVOKED", "STARTED", "RECEIVED", "REJECTED", "RETRY", "PENDING"];

/** Lower is stronger: of two states that came out of order, the one with the lower number holds. */
export function precedence(state: string): number {
  const at = PRECEDENCE.indexOf(state);
  return at < 0 ? 2 : at;
}
