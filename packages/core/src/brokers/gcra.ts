/**
 * When a start is allowed, by the generic cell rate algorithm: a limit remembers one time, `tat`, at which a start would come
 * had all been evenly spaced. A start may be earlier than that by what the burst allows, and each start moves it by one interval.
 * A `tat` that has passed says nothing, so what is not used need not be kept. Pure; the same rules are in `limit-rules.lua`.
 */
import type { LimitSpec } from "./limits.ts";

/** A start is given to who asks so much ahead of it: it waits where it is, without a slot. */
export const LOOKAHEAD_MS = 200;
/** What waited may make up for starts that nobody gave out in time, for so long; only where starts are dense. */
export const CATCH_UP_MS = 500;
const DENSE_MS = 100;
/** A start that is kept for a message and not used after so long goes to others. */
export const KEPT_MS = 5000;
/** Starts that are kept at most: when workers do not take those that were woken, waking more is of no use. */
export const KEPT_MOST = 1000;
/** A limit that waits for a place is looked at again after so long, whether or not one was given back. */
export const PLACE_LOOK_MS = 5000;

/** The earliest start at or after `from`. */
export function earliestStart(tat: number, spec: LimitSpec, from: number): number {
  return Math.max(from, tat - (spec.burst - 1) * (spec.intervalMs ?? 0));
}

/** The new `tat` after a start at that time. */
export function afterStart(tat: number, spec: LimitSpec, startAt: number): number {
  return Math.max(tat, startAt) + (spec.intervalMs ?? 0);
}

/** The new `tat` when a start that was kept is used late: where starts are evenly spaced, the next is counted from now. */
export function afterLateStart(tat: number, spec: LimitSpec, now: number): number {
  return spec.burst === 1 ? Math.max(tat, now + (spec.intervalMs ?? 0)) : tat;
}

/** The new `tat` once a start that was given will not be used. */
export function afterRefund(tat: number, spec: LimitSpec): number {
  return tat - (spec.intervalMs ?? 0);
}

/** The new `tat` when the spec has changed: what was counted by another interval is no longer than this one's burst; a hold is over. */
export function afterChange(tat: number, spec: LimitSpec | undefined, now: number): number {
  return Math.min(tat, now + (spec?.burst ?? 0) * (spec?.intervalMs ?? 0));
}

/** The new `tat` that lets nothing start before `until`. */
export function afterHold(tat: number, spec: LimitSpec | undefined, until: number): number {
  return Math.max(tat, until + ((spec?.burst ?? 1) - 1) * (spec?.intervalMs ?? 0));
}

/** From when on starts are counted for a message that has waited since then: a turn that comes late makes up for it. */
export function countedFrom(spec: LimitSpec, now: number, waitingSince: number): number {
  const isDense = spec.intervalMs !== undefined && spec.intervalMs < DENSE_MS;
  return isDense ? Math.max(now - CATCH_UP_MS, Math.min(now, waitingSince)) : now;
}
