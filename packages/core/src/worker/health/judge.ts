/**
 * Whether a worker lives, and whether it is ready. Pure: facts in, verdicts out, each with its reasons in words.
 *
 * Live is what a restart would not make better: a worker is not live when it should consume and does not, or when it
 * has failed. Ready is what a deploy waits for: a message that is published now would be taken.
 */
import type { WorkerState } from "../life.ts";

export interface HealthFacts {
  readonly state: WorkerState;
  /** As far as the broker's answers show. */
  readonly isConsuming: boolean;
  /** How long the main thread's loop has turned without an answer of the broker. */
  readonly silentMs: number;
  /** How long that loop has stood still. */
  readonly blockedMs: number;
  /** undefined: no lease is kept by this thread. `leftMs` undefined: there is none now. */
  readonly lease: { readonly leaseMs: number; readonly leftMs: number | undefined; readonly isSure: boolean } | undefined;
  /** What went wrong last and has not been put right, by what it is about. */
  readonly troubles: Troubles;
  /** The event loop may stand still for so long before the worker is taken for dead. */
  readonly blockedLimitMs: number;
}

/** `broker`: it cannot be reached. `guard`: the lease cannot be renewed. `failure`: the worker gives up. */
export type Trouble = "broker" | "guard" | "failure";
export type Troubles = Readonly<Partial<Record<Trouble, string>>>;

export interface Verdict {
  readonly ok: boolean;
  /** Why not. */
  readonly reasons: readonly string[];
}

export interface HealthVerdicts {
  readonly live: Verdict;
  readonly ready: Verdict;
}

/** After so long without an answer of the broker, consuming is taken to have stopped. Answers come every few seconds. */
export const SILENT_LIMIT_MS = 10_000;
/** A loop that stands still for so long takes no messages. */
const BUSY_LIMIT_MS = 5000;

const STATES_IN_WORDS: Readonly<Record<WorkerState, string>> = {
  new: "the worker has not been started",
  starting: "the worker is starting",
  running: "the worker is running",
  quiet: "the worker is quiet: it takes nothing until it is resumed",
  warm: "the worker is stopping",
  soft: "the worker is stopping",
  cold: "the worker is stopping",
  stopped: "the worker has stopped",
};

export function judgeHealth(facts: HealthFacts): HealthVerdicts {
  const { state, troubles } = facts;
  if (troubles.failure !== undefined) {
    const verdict = verdictOf([`the worker gave up: ${troubles.failure}`]);
    return { live: verdict, ready: verdict };
  }
  const blocked = `the main thread's event loop has been blocked for ${inSeconds(facts.blockedMs)}`;
  const isDead = facts.blockedMs > facts.blockedLimitMs;
  const stopped = state === "running" ? consumingStopped(facts) : [];
  const live = isDead ? [blocked, ...stopped] : stopped;
  return { live: verdictOf(live), ready: verdictOf(facts.blockedMs > BUSY_LIMIT_MS ? [blocked, ...notReady(facts)] : notReady(facts)) };
}

function consumingStopped(facts: HealthFacts): string[] {
  const { silentMs, lease, troubles } = facts;
  const reasons: string[] = [];
  if (silentMs > SILENT_LIMIT_MS)
    reasons.push(because(`consuming has stopped: no answer of the broker for ${inSeconds(silentMs)}`, troubles.broker));
  if (lease !== undefined) {
    const sinceMs = lease.leaseMs - (lease.leftMs ?? 0);
    if (lease.leftMs === undefined) reasons.push(because("the worker's lease was lost", troubles.guard));
    else if (sinceMs > Math.max(SILENT_LIMIT_MS, lease.leaseMs))
      reasons.push(because(`the worker's lease has not been renewed for ${inSeconds(sinceMs)}`, troubles.guard));
  }
  return reasons;
}

function notReady(facts: HealthFacts): string[] {
  const { state, isConsuming, lease, troubles } = facts;
  if (state !== "running") return [because(STATES_IN_WORDS[state], state === "starting" ? (troubles.broker ?? troubles.guard) : undefined)];
  const reasons: string[] = [];
  if (!isConsuming) reasons.push(because("the worker does not consume", troubles.broker ?? "the broker does not answer"));
  if (lease && !lease.isSure) reasons.push(because("the worker's lease is not sure, so no task is started", troubles.guard));
  return reasons;
}

function verdictOf(reasons: readonly string[]): Verdict {
  return { ok: reasons.length === 0, reasons };
}

function because(what: string, why: string | undefined): string {
  return why === undefined ? what : `${what}: ${why}`;
}

function inSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
