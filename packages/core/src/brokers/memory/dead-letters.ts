/** The dead letters of a memory broker, one graveyard a queue. */
import type {
  DeadLetter, DeadLetterCaps, DeadLetterCounts, DeadLetterFilter, DeadLetterPage, DeadLetterPageOptions, DeadLetters, RestoreOptions,
} from "../broker.ts"; // prettier-ignore
import type { Clock } from "../../shared/clock.ts";
import { matches } from "../dead-letter-filter.ts";
import { begunAnew, priorityOf } from "../envelope-edits.ts";
import type { MemoryStore } from "./store.ts";

/** Invariant: `bytes` is the sum over what is kept. */
export class Graveyard {
  /** By number; oldest first. */
  readonly #letters = new Map<number, DeadLetter>();
  #bytes = 0;

  get size(): number {
    return this.#letters.size;
  }

  add(number: number, letter: DeadLetter, { max, maxBytes, maxAgeMs }: DeadLetterCaps): void {
    this.#letters.set(number, letter);
    this.#bytes += letter.raw.length;
    for (const [oldest, { at }] of this.#letters) {
      const isOver = this.size > max || this.#bytes > maxBytes || at < letter.at - maxAgeMs;
      if (!isOver || oldest === number) break;
      this.delete(oldest);
    }
  }

  delete(number: number): void {
    this.#bytes -= this.#letters.get(number)?.raw.length ?? 0;
    this.#letters.delete(number);
  }

  newestFirst(): readonly (readonly [number, DeadLetter])[] {
    return [...this.#letters].toReversed();
  }
}

export class MemoryDeadLetters implements DeadLetters {
  readonly #store: MemoryStore;
  readonly #clock: Clock;
  readonly #caps: DeadLetterCaps;

  constructor(store: MemoryStore, clock: Clock, caps: DeadLetterCaps) {
    this.#store = store;
    this.#clock = clock;
    this.#caps = caps;
  }

  /** The cursor is the number of the last entry of the page before. */
  async page(queue: string, { limit, cursor, filter }: DeadLetterPageOptions): Promise<DeadLetterPage> {
    const before = cursor === undefined ? Infinity : Number(cursor);
    const rest = this.#matching(queue, filter).filter(([number]) => number < before);
    const page = rest.slice(0, limit);
    return { entries: page.map(([, letter]) => letter), cursor: rest.length > limit ? String(page.at(-1)?.[0]) : undefined };
  }

  async get(queue: string, id: string): Promise<DeadLetter | undefined> {
    return this.#find(queue, id)?.[1];
  }

  async count(queue: string, filter?: DeadLetterFilter): Promise<DeadLetterCounts> {
    const counts: { -readonly [Reason in keyof DeadLetterCounts]: DeadLetterCounts[Reason] } = {};
    for (const [, { reason }] of this.#matching(queue, filter)) counts[reason] = (counts[reason] ?? 0) + 1;
    return counts;
  }

  async restore(queue: string, id: string, options: RestoreOptions = {}): Promise<boolean> {
    const found = this.#find(queue, id);
    if (found === undefined) return false;
    const [number, letter] = found;
    this.#store.dead(queue).delete(number);
    const raw = begunAnew(options.raw ?? letter.raw, letter.reason);
    this.#store.add(queue, raw, priorityOf(raw));
    return true;
  }

  async remove(queue: string, id: string): Promise<boolean> {
    const found = this.#find(queue, id);
    if (found !== undefined) this.#store.dead(queue).delete(found[0]);
    return found !== undefined;
  }

  async expire(queues: readonly string[]): Promise<number> {
    const before = this.#clock.now() - this.#caps.maxAgeMs;
    return queues.reduce((sum, queue) => {
      const old = this.#matching(queue, { before });
      for (const [number] of old) this.#store.dead(queue).delete(number);
      return sum + old.length;
    }, 0);
  }

  async purge(queue: string, filter?: DeadLetterFilter): Promise<number> {
    const doomed = this.#matching(queue, filter);
    for (const [number] of doomed) this.#store.dead(queue).delete(number);
    return doomed.length;
  }

  #matching(queue: string, filter: DeadLetterFilter | undefined): readonly (readonly [number, DeadLetter])[] {
    return this.#store
      .dead(queue)
      .newestFirst()
      .filter(([, letter]) => matches(letter, filter));
  }

  #find(queue: string, id: string): readonly [number, DeadLetter] | undefined {
    return this.#store
      .dead(queue)
      .newestFirst()
      .find(([, letter]) => letter.id === id);
  }
}
