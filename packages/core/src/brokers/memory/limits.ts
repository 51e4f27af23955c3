/** Limits of a memory broker: maps, and the rules of `limit-ledger.ts`. */
import { CATCH_UP_MS } from "../gcra.ts";
import type { KeptStart, LimitRows, WaitingMessage } from "../limit-ledger.ts";
import { specInForce } from "../limit-specs.ts";
import type { LimitOverview } from "../limits-by-ledger.ts";
import type { LimitSpec, LimitTable } from "../limits.ts";

interface Line<Item> {
  /** By when they came. */
  readonly waiting: WaitingMessage<Item>[];
  turnAt: number;
}

export class MemoryLimitRows<Item> implements LimitRows<Item>, LimitOverview {
  readonly #giveBack: (item: Item) => void;
  readonly #declared = new Map<string, LimitSpec>();
  readonly #set = new Map<string, LimitSpec | null>();
  readonly #tats = new Map<string, number>();
  readonly #running = new Map<string, number>();
  readonly #holds = new Map<string, Map<string, readonly string[]>>();
  readonly #kept = new Map<string, KeptStart>();
  readonly #lines = new Map<string, Map<string, Line<Item>>>();

  constructor(giveBack: (item: Item) => void) {
    this.#giveBack = giveBack;
  }

  table(): LimitTable {
    return { declared: new Map(this.#declared), set: new Map(this.#set) };
  }

  declare(name: string, spec: LimitSpec): void {
    this.#declared.set(name, spec);
  }

  set(id: string, spec: LimitSpec | null | undefined): void {
    if (spec === undefined) this.#set.delete(id);
    else this.#set.set(id, spec);
  }

  spec(id: string): LimitSpec | undefined {
    return specInForce({ declared: this.#declared, set: this.#set }, id);
  }

  tat(id: string): number {
    return this.#tats.get(id) ?? 0;
  }

  setTat(id: string, tat: number): void {
    this.#tats.delete(id); // to the end, so that what is long over comes first
    this.#tats.set(id, tat);
  }

  tatsAfter(time: number): readonly string[] {
    return [...this.#tats].filter(([, tat]) => tat > time).map(([id]) => id);
  }

  running(id: string): number {
    return this.#running.get(id) ?? 0;
  }

  addRunning(id: string, by: number): void {
    const running = this.running(id) + by;
    if (running <= 0) this.#running.delete(id);
    else this.#running.set(id, running);
  }

  runningIds(): readonly string[] {
    return [...this.#running.keys()];
  }

  hold(worker: string, hold: string, places: readonly string[]): void {
    let holds = this.#holds.get(worker);
    if (holds === undefined) this.#holds.set(worker, (holds = new Map()));
    holds.set(hold, places);
  }

  takeHold(worker: string, hold: string): readonly string[] | undefined {
    const holds = this.#holds.get(worker);
    const places = holds?.get(hold);
    holds?.delete(hold);
    if (holds?.size === 0) this.#holds.delete(worker);
    return places;
  }

  takeHoldsOf(worker: string): readonly (readonly string[])[] {
    const holds = [...(this.#holds.get(worker)?.values() ?? [])];
    this.#holds.delete(worker);
    return holds;
  }

  holders(): readonly string[] {
    return [...this.#holds.keys()];
  }

  keep(id: string, start: KeptStart): void {
    this.#kept.set(id, start);
  }

  takeKept(id: string): KeptStart | undefined {
    const kept = this.#kept.get(id);
    this.#kept.delete(id);
    return kept;
  }

  countKept(): number {
    return this.#kept.size;
  }

  takeStale(before: number): readonly KeptStart[] {
    const stale = [...this.#kept].filter(([, { startAt }]) => startAt < before);
    for (const [id] of stale) this.#kept.delete(id);
    for (const [id, tat] of this.#tats) {
      if (tat >= before - CATCH_UP_MS) break;
      this.#tats.delete(id);
    }
    return stale.map(([, start]) => start);
  }

  wait(limit: string, message: WaitingMessage<Item>): void {
    let lines = this.#lines.get(message.queue);
    if (lines === undefined) this.#lines.set(message.queue, (lines = new Map()));
    let line = lines.get(limit);
    if (line === undefined) lines.set(limit, (line = { waiting: [], turnAt: Number.POSITIVE_INFINITY }));
    let at = line.waiting.length;
    while (at > 0 && isBefore(message, line.waiting[at - 1] as WaitingMessage<Item>)) at--;
    line.waiting.splice(at, 0, message);
  }

  firstWaiting(queue: string, limit: string): WaitingMessage<Item> | undefined {
    return this.#lines.get(queue)?.get(limit)?.waiting[0];
  }

  endWait(limit: string, message: WaitingMessage<Item>): void {
    const waiting = this.#lines.get(message.queue)?.get(limit)?.waiting;
    const at = waiting?.indexOf(message) ?? -1;
    if (at === 0) waiting?.shift();
    else if (at > 0) waiting?.splice(at, 1);
  }

  turnAt(queue: string, limit: string): number | undefined {
    const line = this.#lines.get(queue)?.get(limit);
    return line === undefined || line.waiting.length === 0 ? undefined : line.turnAt;
  }

  setTurn(queue: string, limit: string, at: number | undefined): void {
    const lines = this.#lines.get(queue);
    const line = lines?.get(limit);
    if (line === undefined) return;
    if (at !== undefined) line.turnAt = at;
    else if (line.waiting.length === 0) lines?.delete(limit);
    if (lines?.size === 0) this.#lines.delete(queue);
  }

  turnsUntil(queue: string, until: number, max: number): readonly string[] {
    const due = [...(this.#lines.get(queue) ?? [])].filter(([, { turnAt }]) => turnAt <= until);
    return due
      .toSorted(([id, a], [other, b]) => a.turnAt - b.turnAt || (id < other ? -1 : 1))
      .slice(0, max)
      .map(([limit]) => limit);
  }

  firstTurn(queue: string): number | undefined {
    const turns = [...(this.#lines.get(queue)?.values() ?? [])].map(({ turnAt }) => turnAt);
    return turns.length === 0 ? undefined : Math.min(...turns);
  }

  returnToQueue(messages: readonly WaitingMessage<Item>[]): void {
    for (const { item } of messages.toReversed()) this.#giveBack(item);
  }

  queues(): readonly string[] {
    return [...this.#lines.keys()];
  }

  waiting(queue: string): ReadonlyMap<string, number> {
    return new Map([...(this.#lines.get(queue) ?? [])].map(([limit, { waiting }]) => [limit, waiting.length]));
  }

  /** What waits in a queue, each with the limit that holds it. */
  *allWaiting(queue: string): IterableIterator<readonly [string, Item]> {
    for (const [limit, { waiting }] of this.#lines.get(queue) ?? []) for (const { item } of waiting) yield [limit, item];
  }

  /** How many wait in a queue. */
  countWaiting(queue: string): number {
    let count = 0;
    for (const { waiting } of this.#lines.get(queue)?.values() ?? []) count += waiting.length;
    return count;
  }

  /** Discards what waits in a queue. Returns how many. */
  purge(queue: string): number {
    const count = this.countWaiting(queue);
    this.#lines.delete(queue);
    return count;
  }
}

function isBefore(a: WaitingMessage<unknown>, b: WaitingMessage<unknown>): boolean {
  return a.since < b.since || (a.since === b.since && a.order < b.order);
}
