/**
 * The fair queues of a memory store: lines of messages by key, the ring of keys whose turn comes, and what may be done with each.
 * A queue costs nothing until a consumer asks for it fairly; a key nothing once it has neither messages nor settings.
 */
import { fairKeyIn, fairKeyText, type FairKey } from "../../protocol/fair-key.ts";
import { PRIORITY_STEPS, type PriorityStep } from "../priority.ts";
import {
  changed, checkChange, DEFAULT_WEIGHT, fairKeyOf, type FairChange, type FairPage, type FairPageOptions, type FairSettings, type KeyState,
} from "../fairness.ts"; // prettier-ignore
import { takeTurns, type Seat } from "../key-turns.ts";
import { Deque } from "./deque.ts";
import type { Entry } from "./store.ts";

type Ready = Readonly<Record<PriorityStep, Deque<Entry>>>;

/** What waits under one key. */
interface Line extends Seat {
  readonly key: FairKey;
  readonly steps: Map<PriorityStep, Deque<Entry>>;
  weight: number;
  running: number;
  isInRing: boolean;
}

export class FairLine {
  readonly #lines = new Map<FairKey, Line>();
  readonly #settings = new Map<FairKey, FairSettings>();
  #defaults: FairSettings = {};
  #ring = new Deque<Line>();
  #waiting = 0;

  /** Messages that are sorted and wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Empties the lists: each message goes into the line of its key. */
  sort(ready: Ready): void {
    for (const step of PRIORITY_STEPS) {
      const returned: Entry[] = [];
      for (let entry = ready[step].takeFront(); entry !== undefined; entry = ready[step].takeFront()) {
        entry.fairKey ??= fairKeyIn(entry.raw);
        if (entry.lent > 0) returned.push(entry);
        else this.#add(entry, "back");
      }
      for (const entry of returned.toReversed()) this.#add(entry, "front");
    }
  }

  /** Hands out up to `want` messages by turns, until `lend` says that there is no room. Returns how many. */
  take(want: number, lend: (entry: Entry) => boolean): number {
    const taken = { count: 0, isFull: false };
    while (taken.count < want && !taken.isFull && this.#ring.size > 0) {
      const line: Line[] = [];
      while (line.length < want - taken.count && this.#ring.size > 0) line.push(this.#ring.takeFront() as Line);
      for (const each of line) this.#ready(each);
      const { front, back, gone } = takeTurns(line, this.#ring.size === 0, want - taken.count, (seat) => {
        taken.isFull = !this.#lend(seat, lend);
        if (!taken.isFull) taken.count += 1;
        return !taken.isFull;
      });
      for (const each of front.toReversed()) this.#ring.pushFront(each);
      for (const each of back) this.#ring.pushBack(each);
      for (const each of gone) {
        each.isInRing = false;
        this.#forget(each);
      }
    }
    return taken.count;
  }

  /** A loan of this key has ended. True when a message that waited for that may be taken now. */
  ended(key: FairKey): boolean {
    const line = this.#lines.get(key);
    if (line === undefined) return false;
    line.running -= 1;
    this.#enrol(line);
    this.#forget(line);
    return line.isInRing;
  }

  set(text: string | undefined, change: FairChange): void {
    checkChange(text, change);
    if (text === undefined) this.#defaults = changed(this.#defaults, change);
    else {
      const key = fairKeyOf(text);
      const settings = changed(this.#settings.get(key) ?? {}, change);
      if (Object.keys(settings).length === 0) this.#settings.delete(key);
      else this.#settings.set(key, settings);
    }
    for (const line of this.#lines.values()) this.#enrol(line);
  }

  page(unsorted: number, { limit, cursor }: FairPageOptions): FairPage {
    const keys = [...new Set([...this.#lines.keys(), ...this.#settings.keys()])].toSorted();
    const from = cursor === undefined ? 0 : Number(cursor);
    const next = from + limit < keys.length ? String(from + limit) : undefined;
    const { weight = DEFAULT_WEIGHT, limit: most } = this.#defaults;
    return {
      keys: keys.slice(from, from + limit).map((key) => this.#stateOf(key)),
      cursor: next,
      unsorted,
      defaults: { weight, limit: most },
    };
  }

  *[Symbol.iterator](): IterableIterator<Entry> {
    for (const { steps } of this.#lines.values()) for (const list of steps.values()) yield* list;
  }

  /** All that waits, by turns. */
  release(): Entry[] {
    const lines = [...this.#lines.values()].filter(({ waiting }) => waiting > 0);
    for (const line of lines) {
      this.#ready(line).open = line.waiting;
      line.isInRing = false;
    }
    const released: Entry[] = [];
    takeTurns(lines, true, Infinity, (line) => released.push(this.#next(line)) > 0);
    this.#waiting = 0;
    this.#ring = new Deque();
    for (const line of lines) this.#forget(line);
    return released;
  }

  #add(entry: Entry, end: "front" | "back"): void {
    const key = entry.fairKey as FairKey; // sorted
    let line = this.#lines.get(key);
    if (line === undefined) {
      line = { key, steps: new Map(), weight: DEFAULT_WEIGHT, credit: 0, waiting: 0, open: 0, running: 0, isInRing: false };
      this.#lines.set(key, line);
    }
    let list = line.steps.get(entry.step);
    if (list === undefined) line.steps.set(entry.step, (list = new Deque()));
    if (end === "front") list.pushFront(entry);
    else list.pushBack(entry);
    line.waiting += 1;
    this.#waiting += 1;
    this.#enrol(line);
  }

  #enrol(line: Line): void {
    if (line.isInRing || this.#ready(line).open === 0) return;
    line.isInRing = true;
    this.#ring.pushBack(line);
  }

  #lend(line: Line, lend: (entry: Entry) => boolean): boolean {
    const list = listOf(line);
    const entry = list.peek() as Entry; // a seat that is asked has messages
    if (!lend(entry)) return false;
    list.takeFront();
    this.#waiting -= 1;
    line.running += 1;
    return true;
  }

  #next(line: Line): Entry {
    return listOf(line).takeFront() as Entry; // as above
  }

  #ready(line: Line): Line {
    const { weight, limit, paused } = this.#rightsOf(line.key);
    line.weight = weight;
    line.open = paused ? 0 : Math.max(0, Math.min(line.waiting, (limit ?? Infinity) - line.running));
    return line;
  }

  #forget({ key, waiting, running }: Line): void {
    if (waiting === 0 && running === 0) this.#lines.delete(key);
  }

  #rightsOf(key: FairKey) {
    const own = this.#settings.get(key);
    return {
      weight: own?.weight ?? this.#defaults.weight ?? DEFAULT_WEIGHT,
      limit: own?.limit ?? this.#defaults.limit,
      paused: own?.paused,
    };
  }

  #stateOf(key: FairKey): KeyState {
    const { waiting = 0, running = 0 } = this.#lines.get(key) ?? {};
    return { key: fairKeyText(key), waiting, running, ...this.#rightsOf(key), isSet: this.#settings.has(key) };
  }
}

/** The list of the first step that holds a message. */
function listOf({ steps }: Line): Deque<Entry> {
  for (const step of PRIORITY_STEPS) {
    const list = steps.get(step);
    if (list !== undefined && list.size > 0) return list;
  }
  throw new Error("a line counts a message that it does not hold");
}
