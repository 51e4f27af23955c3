/**
 * Limits that hold for all workers of a broker together: starts per time, and tasks at once. `Broker.limits`.
 *
 * A limit has a name (`task:shop.add`, `queue:mail`, or one that several tasks share), and may count each key apart
 * (`api` + tab + `customer7`): that is a limit's id. A message is under all the limits that its worker names for it.
 *
 * A message under limits: ready -> on loan -> asked for (`admit`) -> admitted, with the time at which it may start, or it
 * waits: kept aside with its queue, its loan ended in the same step. Waiting -> (`advance`: it has its turn) ready again, at the
 * front of its queue, with a start that is kept for it -> on loan -> admitted. A broker may lend it to the worker that advances at
 * once, through its consumer: it is asked for and admitted as any other. So the cost of a message does not depend on how
 * many wait, and what waits holds neither slot nor loan.
 */
import type { Delivery } from "./broker.ts";

/** What a limit allows. Without `intervalMs` any number of starts, without `concurrency` any number at once. */
export interface LimitSpec {
  /** Between two starts on average. */
  readonly intervalMs?: number | undefined;
  /** Starts that may come at once after a pause; at least 1. */
  readonly burst: number;
  /** Tasks at once; 0 lets none start. */
  readonly concurrency?: number | undefined;
}

export interface AdmissionRequest {
  readonly delivery: Delivery;
  /** Of the message: names the start that is kept for it. */
  readonly id: string;
  /** Ids of limits. */
  readonly limits: readonly string[];
  /** ms since 1970, by the broker's clock: after that it has its turn at once, and uses up nothing. */
  readonly expiresAt?: number | undefined;
}

export type Admission =
  /** May start in so many ms, at most `LOOKAHEAD_MS`. `isHeld`: it counts as running until it is released. */
  | { readonly kind: "admitted"; readonly startsInMs: number; readonly isHeld: boolean }
  /** Its loan has ended: it is kept aside. */
  | { readonly kind: "waits" }
  /** Its loan is another's, or gone. */
  | { readonly kind: "lost" };

export interface Admissions {
  /** In the order of the requests. */
  readonly answers: readonly Admission[];
  /** In how many ms the first that waits may have its turn; undefined: none of them waits. */
  readonly nextTurnInMs: number | undefined;
}

/** A message that will not start after all. */
export interface GivenUp extends Pick<AdmissionRequest, "id" | "limits"> {
  readonly delivery?: Delivery;
}

export interface Turns {
  /** Messages that went back to the front of their queues. */
  readonly moved: number;
  /** In how many ms the next may have its turn; undefined: none waits in these queues. */
  readonly nextTurnInMs: number | undefined;
}

export interface LimitState {
  readonly id: string;
  readonly spec: LimitSpec | undefined;
  readonly isSetByHand: boolean;
  readonly waiting: number;
  readonly running: number;
  /** No start for so long; 0: one may start now, as far as its rate goes. */
  readonly nextStartInMs: number;
}

/** Specs as they are kept: a limit's name, or an id with a key, to what it allows; null: none, whatever the code says. */
export interface LimitTable {
  /** By the code of the workers; the last that started wins. */
  readonly declared: ReadonlyMap<string, LimitSpec>;
  /** By hand. They win over the declared ones, and that of a key over that of the name. */
  readonly set: ReadonlyMap<string, LimitSpec | null>;
}

/** `queues`: where those wait that are given turns: at most `want`. */
export interface TurnOptions {
  readonly queues: readonly string[];
  readonly want: number;
}

export interface Limits {
  /** Asks for all in one step. What a fanout brought is always admitted. Waits out a broker's absence. @throws BrokerRefusedError, the signal's reason */
  admit(worker: string, requests: readonly AdmissionRequest[], signal?: AbortSignal): Promise<Admissions>;
  /** Returns those whose turn has come to the front of their queues, or lends them to this worker, and gives to others what dead workers hold. */
  advance(worker: string, options: TurnOptions): Promise<Turns>;
  /** What was admitted has ended: its place is free, and goes to the next. May be told twice. */
  release(worker: string, deliveries: readonly Delivery[], options: TurnOptions): Promise<Turns>;
  /** These will not start after all (revoked, expired): what is kept for them goes to others. */
  giveUp(worker: string, requests: readonly GivenUp[], options: TurnOptions): Promise<Turns>;
  /** Nothing under these limits starts for so long, but for what has its start already. */
  holdBack(ids: readonly string[], durationMs: number): Promise<void>;
  table(): Promise<LimitTable>;
  /** What the code of a worker says. */
  declare(specs: ReadonlyMap<string, LimitSpec>): Promise<void>;
  /** By hand: for a name, or an id with a key. undefined: as the code says again. */
  set(id: string, spec: LimitSpec | null | undefined): Promise<void>;
  /** After `set`: those that wait under limits of these names are looked at at once, and a hold is over. */
  recheck(names: readonly string[]): Promise<void>;
  /** Of all limits that something waits for or runs under, and of all in the table; at most `max`. */
  states(max: number): Promise<readonly LimitState[]>;
}

/** A key's name within a limit's id. */
export const KEY_MARK = "\t";

/** An id for people: a name, and whose. */
export const limitLabel = (id: string): string => id.replace(KEY_MARK, " of ");

/** The name of the limit that an id belongs to. */
export function limitName(id: string): string {
  const at = id.indexOf(KEY_MARK);
  return at === -1 ? id : id.slice(0, at);
}
