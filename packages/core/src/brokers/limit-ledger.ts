/**
 * The rules of limits over whatever keeps their state: who may start, who waits, who has the next turn. For the brokers that
 * run them in one process or transaction; Redis runs the same in `limit-rules.lua`, and a test holds the two together.
 * Synchronous: what one call does, nobody sees half done.
 */
import {
  afterChange,
  afterHold,
  afterLateStart,
  afterRefund,
  afterStart,
  countedFrom,
  earliestStart,
  KEPT_MOST,
  KEPT_MS,
  LOOKAHEAD_MS,
  PLACE_LOOK_MS,
} from "./gcra.ts";
import { limitName, type LimitSpec } from "./limits.ts";

/** A message that waits for its turn under one of its limits. `Item` is the store's own. */
export interface WaitingMessage<Item> {
  readonly queue: string;
  readonly id: string;
  readonly limits: readonly string[];
  readonly expiresAt: number | undefined;
  /** ms since 1970. */
  readonly since: number;
  /** Orders those that wait since the same time. */
  readonly order: number;
  readonly item: Item;
}

/** A start that is kept for a message that is ready again. */
export interface KeptStart {
  readonly startAt: number;
  /** Ids of the limits in which it counts as running. */
  readonly places: readonly string[];
}

export interface LimitRows<Item> {
  /** That of the id, else of its name; undefined: not limited. */
  spec(id: string): LimitSpec | undefined;
  tat(id: string): number;
  setTat(id: string, tat: number): void;
  running(id: string): number;
  addRunning(id: string, by: number): void;
  /** Limits whose `tat` is after that. */
  tatsAfter(time: number): readonly string[];
  hold(worker: string, hold: string, places: readonly string[]): void;
  /** Takes it out; undefined when it is not there. */
  takeHold(worker: string, hold: string): readonly string[] | undefined;
  takeHoldsOf(worker: string): readonly (readonly string[])[];
  keep(id: string, start: KeptStart): void;
  takeKept(id: string): KeptStart | undefined;
  countKept(): number;
  /** Those that were to start before then, taken out. */
  takeStale(before: number): readonly KeptStart[];
  wait(limit: string, message: WaitingMessage<Item>): void;
  /** The one that waits longest under a limit. */
  firstWaiting(queue: string, limit: string): WaitingMessage<Item> | undefined;
  endWait(limit: string, message: WaitingMessage<Item>): void;
  /** When the first of those that wait there may have its turn; undefined: none waits. */
  turnAt(queue: string, limit: string): number | undefined;
  setTurn(queue: string, limit: string, at: number | undefined): void;
  /** Limits with a turn up to then, the earliest first, at the same time by their ids; at most `max`. */
  turnsUntil(queue: string, until: number, max: number): readonly string[];
  firstTurn(queue: string): number | undefined;
  /** To the front of their queues, the first of them foremost. */
  returnToQueue(messages: readonly WaitingMessage<Item>[]): void;
}

export interface Asked {
  readonly worker: string;
  /** Names what it holds of a place: `release` gives it back. */
  readonly hold: string;
  readonly id: string;
  readonly queue: string;
  readonly limits: readonly string[];
}

export type Answered = { readonly startAt: number; readonly isHeld: boolean } | { readonly waitsFor: string; readonly turnAt: number };

type Verdict = KeptStart | { readonly blockedBy: string; readonly turnAt: number };

/** Limits in one call, and messages moved from one limit's line to another's for one that starts. */
const LIMITS_AT_ONCE = 256;
const TRIES = 64;

export class LimitLedger<Item> {
  readonly #rows: LimitRows<Item>;

  constructor(rows: LimitRows<Item>) {
    this.#rows = rows;
  }

  /** A start for this message, which is then taken; undefined when it must wait: `wait`. */
  admit({ worker, hold, id, queue, limits }: Asked, now: number): Answered {
    const rows = this.#rows;
    const kept = rows.takeKept(id);
    if (kept !== undefined && kept.startAt >= now - KEPT_MS) {
      if (kept.startAt < now) this.#useLate(limits, now);
      return this.#start(worker, hold, kept);
    }
    if (kept !== undefined) this.#leave(kept.places);
    for (const limit of limits) {
      const turnAt = rows.turnAt(queue, limit);
      if (turnAt !== undefined) return { waitsFor: limit, turnAt };
    }
    const verdict = this.#judge(limits, now, now);
    if ("blockedBy" in verdict) return { waitsFor: verdict.blockedBy, turnAt: verdict.turnAt };
    this.#charge(limits, verdict.startAt);
    return this.#start(worker, hold, verdict);
  }

  #useLate(limits: readonly string[], now: number): void {
    const rows = this.#rows;
    for (const limit of limits) {
      const spec = rows.spec(limit);
      if (spec?.intervalMs !== undefined) rows.setTat(limit, afterLateStart(rows.tat(limit), spec, now));
    }
  }

  #start(worker: string, hold: string, { startAt, places }: KeptStart): Answered {
    if (places.length > 0) this.#rows.hold(worker, hold, places);
    return { startAt, isHeld: places.length > 0 };
  }

  /** Puts it in the line of that limit. */
  wait(limit: string, turnAt: number, message: WaitingMessage<Item>): void {
    const rows = this.#rows;
    rows.wait(limit, message);
    const known = rows.turnAt(message.queue, limit);
    if (known === undefined || turnAt < known) rows.setTurn(message.queue, limit, turnAt);
  }

  /** The places are free; who waits for one of them may have its turn. */
  release(worker: string, holds: readonly string[]): ReadonlySet<string> {
    return this.#leave(holds.flatMap((hold) => this.#rows.takeHold(worker, hold) ?? []));
  }

  forgetWorker(worker: string): ReadonlySet<string> {
    return this.#leave(this.#rows.takeHoldsOf(worker).flat());
  }

  giveUp(id: string, limits: readonly string[]): ReadonlySet<string> {
    const kept = this.#rows.takeKept(id);
    if (kept === undefined) return new Set();
    this.#leave(kept.places);
    for (const limit of limits) {
      const spec = this.#rows.spec(limit);
      if (spec?.intervalMs !== undefined) this.#rows.setTat(limit, afterRefund(this.#rows.tat(limit), spec));
    }
    return new Set([...kept.places, ...limits]);
  }

  /** Gives turns, up to `want`. `freed`: limits under which there may be room before the time that was foreseen. */
  advance(queues: readonly string[], want: number, now: number, freed: ReadonlySet<string> = new Set()) {
    const rows = this.#rows;
    const stale = rows.takeStale(now - KEPT_MS).flatMap(({ places }) => [...this.#leave(places)]);
    for (const queue of queues) this.#call(queue, [...freed, ...stale], now);
    const most = Math.min(want, KEPT_MOST - rows.countKept());
    const moved: WaitingMessage<Item>[] = [];
    for (const queue of queues) {
      if (most <= 0) break;
      for (const limit of rows.turnsUntil(queue, now + LOOKAHEAD_MS, LIMITS_AT_ONCE)) {
        if (moved.length >= most) break;
        this.#advanceOne(queue, limit, most, now, moved);
      }
    }
    if (moved.length > 0) rows.returnToQueue(moved);
    const turns = queues.map((queue) => rows.firstTurn(queue)).filter((at) => at !== undefined);
    return { moved: moved.length, nextTurnInMs: turns.length === 0 ? undefined : Math.max(0, Math.ceil(Math.min(...turns) - now)) };
  }

  /** Everybody who waits under these limits returns to the queue, whatever they say. Returns how many. */
  flush(queue: string, limits: readonly string[]): number {
    const rows = this.#rows;
    const moved: WaitingMessage<Item>[] = [];
    for (const limit of limits) {
      for (let first = rows.firstWaiting(queue, limit); first !== undefined; first = rows.firstWaiting(queue, limit)) {
        rows.endWait(limit, first);
        moved.push(first);
      }
      rows.setTurn(queue, limit, undefined);
    }
    if (moved.length > 0) rows.returnToQueue(moved);
    return moved.length;
  }

  /** The specs of limits of these names have changed: those that wait under them in these queues are looked at at once. */
  recheck(queues: ReadonlyMap<string, Iterable<string>>, names: readonly string[], now: number): void {
    const rows = this.#rows;
    const isMeant = (id: string): boolean => names.includes(limitName(id));
    for (const id of rows.tatsAfter(now)) if (isMeant(id)) rows.setTat(id, afterChange(rows.tat(id), rows.spec(id), now));
    for (const [queue, limits] of queues) this.#call(queue, [...limits].filter(isMeant), now);
  }

  holdBack(limits: readonly string[], until: number): void {
    const rows = this.#rows;
    for (const limit of limits) rows.setTat(limit, afterHold(rows.tat(limit), rows.spec(limit), until));
  }

  #advanceOne(queue: string, limit: string, want: number, now: number, moved: WaitingMessage<Item>[]): void {
    const rows = this.#rows;
    for (let tries = 0; moved.length < want && tries < TRIES;) {
      const first = rows.firstWaiting(queue, limit);
      if (first === undefined) return rows.setTurn(queue, limit, undefined);
      const isExpired = first.expiresAt !== undefined && first.expiresAt < now;
      const verdict = isExpired ? undefined : this.#judge(first.limits, now, first.since);
      if (verdict !== undefined && "blockedBy" in verdict) {
        if (verdict.blockedBy === limit) return rows.setTurn(queue, limit, verdict.turnAt);
        rows.endWait(limit, first);
        this.wait(verdict.blockedBy, verdict.turnAt, first);
        tries += 1;
        continue;
      }
      rows.endWait(limit, first);
      moved.push(first);
      if (verdict === undefined) continue;
      this.#charge(first.limits, verdict.startAt);
      // Two messages of one id: what is kept is for the first that comes, and the other asks anew.
      this.#leave(rows.takeKept(first.id)?.places ?? []);
      rows.keep(first.id, verdict);
    }
    rows.setTurn(queue, limit, rows.firstWaiting(queue, limit) === undefined ? undefined : now);
  }

  /** Whether all of them let one start within the lookahead, and when. */
  #judge(limits: readonly string[], now: number, since: number): Verdict {
    const rows = this.#rows;
    let startAt = Number.NEGATIVE_INFINITY;
    const places: string[] = [];
    for (const limit of limits) {
      const spec = rows.spec(limit);
      if (spec === undefined) continue;
      const earliest = earliestStart(rows.tat(limit), spec, countedFrom(spec, now, since));
      if (earliest > now + LOOKAHEAD_MS) return { blockedBy: limit, turnAt: earliest };
      startAt = Math.max(startAt, earliest);
      if (spec.concurrency === undefined) continue;
      if (rows.running(limit) >= spec.concurrency) return { blockedBy: limit, turnAt: now + PLACE_LOOK_MS };
      places.push(limit);
    }
    return { startAt: startAt === Number.NEGATIVE_INFINITY ? now : startAt, places };
  }

  #charge(limits: readonly string[], startAt: number): void {
    const rows = this.#rows;
    for (const limit of limits) {
      const spec = rows.spec(limit);
      if (spec?.intervalMs !== undefined) rows.setTat(limit, afterStart(rows.tat(limit), spec, startAt));
      if (spec?.concurrency !== undefined) rows.addRunning(limit, 1);
    }
  }

  #leave(places: readonly string[]): ReadonlySet<string> {
    for (const limit of places) this.#rows.addRunning(limit, -1);
    return new Set(places);
  }

  #call(queue: string, limits: Iterable<string>, now: number): void {
    for (const limit of limits) {
      const turnAt = this.#rows.turnAt(queue, limit);
      if (turnAt !== undefined && turnAt > now) this.#rows.setTurn(queue, limit, now);
    }
  }
}
