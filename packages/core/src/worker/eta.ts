/**
 * Keeps what is due soon in order of time, on one timer however many there are.
 * `now` is the clock by which due times are meant (the broker's). It may jump, so the timer never sleeps longer than a
 * second before it looks again.
 */
import type { Clock, Timer } from "../shared/clock.ts";

const LONGEST_SLEEP_MS = 1000;

interface Entry<Item> {
  readonly dueAt: number;
  /** Keeps those that are due at the same time in the order in which they came. */
  readonly order: number;
  readonly item: Item;
}

export class DueHeap<Item> {
  readonly #clock: Clock;
  readonly #now: () => number;
  readonly #onDue: (items: Item[]) => void;
  readonly #heap: Entry<Item>[] = [];
  #order = 0;
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, now: () => number, onDue: (items: Item[]) => void) {
    this.#clock = clock;
    this.#now = now;
    this.#onDue = onDue;
  }

  get size(): number {
    return this.#heap.length;
  }

  add(dueAt: number, item: Item): void {
    const heap = this.#heap;
    heap.push({ dueAt, order: this.#order++, item });
    let at = heap.length - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(heap[at] as Entry<Item>, heap[parent] as Entry<Item>)) break;
      this.#swap(at, parent);
      at = parent;
    }
    if (dueAt < this.#timerAt) this.#arm();
  }

  /** Takes out all that match, earliest first. Looks at each. */
  takeWhere(matches: (item: Item) => boolean): Item[] {
    const found = this.#heap.filter(({ item }) => matches(item));
    if (found.length === 0) return [];
    const taken = found.toSorted((a, b) => (before(a, b) ? -1 : 1)).map(({ item }) => item);
    const kept = this.#heap.splice(0).filter(({ item }) => !matches(item));
    this.#heap.push(...kept.toSorted((a, b) => (before(a, b) ? -1 : 1))); // what is in order is a heap
    this.#arm();
    return taken;
  }

  /** Takes everything out, earliest first. */
  clear(): Item[] {
    const items = this.#heap
      .splice(0)
      .toSorted((a, b) => (before(a, b) ? -1 : 1))
      .map((entry) => entry.item);
    this.#arm();
    return items;
  }

  #fire(): void {
    const now = this.#now();
    const due: Item[] = [];
    for (let first = this.#heap[0]; first !== undefined && first.dueAt <= now; first = this.#heap[0]) due.push(this.#pop());
    this.#arm();
    if (due.length > 0) this.#onDue(due);
  }

  #pop(): Item {
    const heap = this.#heap;
    const first = heap[0] as Entry<Item>;
    const last = heap.pop() as Entry<Item>;
    if (heap.length === 0) return first.item;
    heap[0] = last;
    for (let at = 0; ;) {
      const left = 2 * at + 1;
      const right = left + 1;
      let least = at;
      if (left < heap.length && before(heap[left] as Entry<Item>, heap[least] as Entry<Item>)) least = left;
      if (right < heap.length && before(heap[right] as Entry<Item>, heap[least] as Entry<Item>)) least = right;
      if (least === at) return first.item;
      this.#swap(at, least);
      at = least;
    }
  }

  #swap(a: number, b: number): void {
    const entry = this.#heap[a] as Entry<Item>;
    this.#heap[a] = this.#heap[b] as Entry<Item>;
    this.#heap[b] = entry;
  }

  #arm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const first = this.#heap[0];
    this.#timerAt = first?.dueAt ?? Number.POSITIVE_INFINITY;
    if (first === undefined) return;
    const sleepMs = Math.min(LONGEST_SLEEP_MS, Math.max(0, first.dueAt - this.#now()));
    this.#timer = this.#clock.timer(sleepMs, () => this.#fire());
  }
}

function before<Item>(a: Entry<Item>, b: Entry<Item>): boolean {
  return a.dueAt < b.dueAt || (a.dueAt === b.dueAt && a.order < b.order);
}
