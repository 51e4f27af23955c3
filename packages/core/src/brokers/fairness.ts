/**
 * What a broker can do for a fair queue: its messages are sorted by their keys (`protocol/fair-key.ts`), and workers take them by
 * turns among the keys. Which queues are fair is said where they are consumed (`ConsumeOptions.fair`).
 *
 * A keyed message's states: unsorted (in its queue as ever) -> sorted (waiting in the line of its key) -> on loan. What returns to the
 * front of its queue, for whatever reason, is sorted to the front of its key's line. Messages without a key share a line of their own.
 * A key that is paused or at its limit has no turn until that has changed.
 */
import { toFairKey, type FairKey } from "../protocol/fair-key.ts";
import { LovageError } from "../shared/errors.ts";

export interface Fairness {
  /** Keys that have messages waiting or running, or settings of their own; in no order. A page may be empty and have a cursor. */
  page(queue: string, options: FairPageOptions): Promise<FairPage>;
  /**
   * Changes what one key may do, or every key that has no settings of its own (`key` undefined). In force for the next message that is taken.
   * @throws FairChangeError for a value that is not accepted
   */
  set(queue: string, key: string | undefined, change: FairChange): Promise<void>;
  /** Puts what is sorted back into the queue, also that of paused keys: for workers that know nothing of keys. Returns how many. */
  release(queue: string): Promise<number>;
  /**
   * Does what became necessary because a worker died, or because nobody takes a queue fairly any more: then what is sorted goes back, but for
   * that of paused keys. Asked by every worker, now and then. False when there is no fair queue at all.
   */
  tidy(): Promise<boolean>;
}

export interface FairChange {
  /** Messages in each turn; null: the default again. 1 to 1000. */
  readonly weight?: number | null;
  /** Messages that may run at once in all workers together; null: the default again. */
  readonly limit?: number | null;
  /** Only of a single key. null resumes it. */
  readonly paused?: FairPause | null;
}

export interface FairPause {
  readonly by: string;
  readonly reason: string;
  /** ms since 1970. */
  readonly at: number;
}

/** What is kept of a key's settings; what is not there is the default. */
export interface FairSettings {
  readonly weight?: number;
  readonly limit?: number;
  readonly paused?: FairPause;
}

export interface KeyState {
  /** "" for messages without a key. */
  readonly key: string;
  /** Sorted and not on loan. */
  readonly waiting: number;
  /** On loan. */
  readonly running: number;
  /** In force: its own or the default. */
  readonly weight: number;
  readonly limit: number | undefined;
  readonly paused: FairPause | undefined;
  /** It has settings that are not the default. */
  readonly isSet: boolean;
}

export interface FairPageOptions {
  /** About so many keys. */
  readonly limit: number;
  readonly cursor?: string;
}

export interface FairPage {
  readonly keys: readonly KeyState[];
  readonly cursor: string | undefined;
  /** Messages in the queue that no worker has sorted yet. */
  readonly unsorted: number;
  /** Of keys without settings of their own. */
  readonly defaults: { readonly weight: number; readonly limit: number | undefined };
}

export const DEFAULT_WEIGHT = 1;
const WEIGHT_MAX = 1000;
const LIMIT_MAX = 1_000_000_000;
/** Keys of one queue that may have settings of their own. */
export const FAIR_SETTINGS_MAX = 100_000;

/** A weight, limit or key that is not accepted. */
export class FairChangeError extends LovageError {
  readonly code = "FAIR_CHANGE";
}

/** @throws FairChangeError */
export function checkChange(key: string | undefined, { weight, limit, paused }: FairChange): void {
  if (weight !== undefined && weight !== null && !isWhole(weight, WEIGHT_MAX))
    throw new FairChangeError(`weight is ${String(weight)}: it takes a whole number from 1 to ${WEIGHT_MAX}`);
  if (limit !== undefined && limit !== null && !isWhole(limit, LIMIT_MAX))
    throw new FairChangeError(`limit is ${String(limit)}: it takes a whole number from 1 on`);
  if (paused !== undefined && key === undefined) throw new FairChangeError("a single key can be paused, not the default: name the key");
}

/** The settings after a change. */
export function changed(before: FairSettings, change: FairChange): FairSettings {
  const merged: Record<string, unknown> = { ...before };
  for (const [name, value] of Object.entries(change)) {
    if (value === null) delete merged[name];
    else if (value !== undefined) merged[name] = value;
  }
  return merged; // names and kinds are those of a change that was checked
}

/** The key as brokers name it; "" are the messages without one. @throws FairChangeError */
export function fairKeyOf(text: string): FairKey {
  const key = text === "" ? ("" as FairKey) : toFairKey(text);
  if (key === undefined) throw new FairChangeError("a key is a text of at most 200 characters without control characters");
  return key;
}

const isWhole = (value: number, max: number): boolean => Number.isInteger(value) && value >= 1 && value <= max;
