/**
 * The moves of messages in fair queues: sorted by key, lent by turns, released. All synchronous, and all to be called in a write
 * transaction of the file, but for those that only look. What runs of a key is what is on loan of it, so nothing is counted twice or forgotten.
 */
import { fairKeyIn, type FairKey } from "../../protocol/fair-key.ts";
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import type { Envelope } from "../envelope-edits.ts";
import { changed, DEFAULT_WEIGHT, type FairChange, type FairPause, type FairSettings } from "../fairness.ts";
import { takeTurns, type Seat } from "../key-turns.ts";
import type { LentRow } from "./message-rows.ts";

/** How often a queue is marked as one that is taken fairly. */
const MARK_EVERY_MS = 5000;
export const DEFAULTS = "*";
export const fieldOf = (key: FairKey): string => `=${key}`;

export interface FairReserve {
  readonly holder: number;
  readonly take: number;
  readonly want: number;
  /** False when there is no room for a message of so many bytes. */
  readonly fits: (bytes: number) => boolean;
}

interface KeySeat extends Seat {
  readonly key: FairKey;
  readonly number: number;
}

interface KeyedRow {
  readonly message: number;
  readonly step: number;
  readonly place: number;
  readonly losses: number;
  readonly bytes: number;
  readonly envelope: Envelope;
}

interface SettingsRow {
  readonly weight: number | null;
  readonly most: number | null;
  readonly paused: string | null;
}

export interface Rights {
  readonly weight: number;
  readonly limit: number | undefined;
  readonly paused: FairPause | undefined;
}

export class FairRows {
  readonly #file: SqliteFile;

  constructor(file: SqliteFile) {
    this.#file = file;
  }

  /** Moves up to `atMost` messages of a queue into the lines of their keys. Returns how many. */
  sort(queue: number, atMost: number): number {
    const rows = this.#file.sql("fair.unsorted").all(queue, atMost) as KeyedRow[];
    const keys = new Set<FairKey>();
    for (const { message, step, place, losses, bytes, envelope } of rows) {
      const key = fairKeyIn(envelope);
      this.#file.sql("fair.leaveReady").run(queue, step, place);
      this.#file.sql("fair.sort").run(queue, key, step, place, message, losses, bytes);
      keys.add(key);
    }
    for (const key of keys) this.enrol(queue, key);
    return rows.length;
  }

  /** Lends messages by turns. */
  reserve(queue: number, name: string, { holder, take, want, fits }: FairReserve): LentRow[] {
    this.#mark(queue);
    const lent: LentRow[] = [];
    const batch = { isFull: false };
    const lend = (seat: KeySeat): boolean => {
      const { message, step, place, losses, bytes, envelope } = this.#file.sql("fair.first").get(queue, seat.key) as KeyedRow; // it has one
      if (!fits(bytes)) {
        batch.isFull = true;
        return false;
      }
      this.#file.sql("fair.lend").run(queue, seat.key, holder, take, message, step, place, losses, bytes);
      this.#file.sql("fair.take").run(queue, seat.key, step, place, message);
      lent.push({ queue: name, message, losses, envelope, isFair: true });
      return true;
    };
    while (lent.length < want && !batch.isFull) {
      const left = want - lent.length;
      const line = (this.#file.sql("fair.ring").all(queue, left) as { seat: number; key: FairKey; credit: number }[]).map((row) =>
        this.#seat(queue, row, left),
      );
      if (line.length === 0) break;
      const isAll = line.length < left;
      const { front, back } = takeTurns(line, isAll, left, lend);
      for (const { number } of line) this.#file.sql("fair.leaveRing").run(queue, number);
      for (const { key, number, credit } of front) this.#file.sql("fair.sit").run(queue, key, isAll ? null : number, credit);
      for (const { key, credit } of back) this.#file.sql("fair.sit").run(queue, key, null, credit);
    }
    return lent;
  }

  /** Whether a key's turn comes. What has not been sorted is not looked at. */
  hasAny(queue: number): boolean {
    return (this.#file.sql("fair.hasRing").get(queue) as { found: number }).found === 1;
  }

  enrol(queue: number, key: FairKey): void {
    this.#file.sql("fair.enrol").run(queue, key);
  }

  /** Returns false when more than `most` would have settings. */
  set(queue: number, key: FairKey | undefined, change: FairChange, most: number): boolean {
    const field = key === undefined ? DEFAULTS : fieldOf(key);
    const { weight = null, limit = null, paused } = changed(this.#settings(queue, field) ?? {}, change);
    if (weight === null && limit === null && paused === undefined) {
      this.#file.sql("fair.unset").run(queue, field);
    } else {
      const { count } = this.#file.sql("fair.countSet").get(queue) as { count: number };
      if (count >= most && this.#settings(queue, field) === undefined) return false;
      this.#file.sql("fair.set").run(queue, field, weight, limit, paused === undefined ? null : JSON.stringify(paused));
    }
    if (key !== undefined) this.enrol(queue, key);
    else for (const each of this.keysWaiting(queue)) this.enrol(queue, each);
    return true;
  }

  /** Its own settings over the defaults; and whether it has any. */
  rights(queue: number, key: FairKey): Rights & { readonly isSet: boolean } {
    const defaults = this.#settings(queue, DEFAULTS);
    const own = this.#settings(queue, fieldOf(key));
    return {
      weight: own?.weight ?? defaults?.weight ?? DEFAULT_WEIGHT,
      limit: own?.limit ?? defaults?.limit,
      paused: own?.paused,
      isSet: own !== undefined,
    };
  }

  defaults(queue: number): { readonly weight: number; readonly limit: number | undefined } {
    const { weight = DEFAULT_WEIGHT, limit } = this.#settings(queue, DEFAULTS) ?? {};
    return { weight, limit };
  }

  waiting(queue: number, key: FairKey, countTo = Number.MAX_SAFE_INTEGER): number {
    return (this.#file.sql("fair.waiting").get(queue, key, countTo) as { count: number }).count;
  }

  running(queue: number, key: FairKey): number {
    return (this.#file.sql("fair.running").get(queue, key) as { count: number }).count;
  }

  *keysWaiting(queue: number): Generator<FairKey> {
    if (this.waiting(queue, "" as FairKey, 1) > 0) yield "" as FairKey;
    let last = "";
    for (;;) {
      const { key } = this.#file.sql("fair.nextWaiting").get(queue, last) as { key: FairKey | null };
      if (key === null) return;
      yield key;
      last = key;
    }
  }

  /** Keys above this one that have messages, loans or settings, in order. */
  *keysAfter(queue: number, after: string): Generator<FairKey> {
    for (let key = after; ;) {
      const waiting = this.#file.sql("fair.nextWaiting").get(queue, key) as { key: string | null };
      const running = this.#file.sql("fair.nextRunning").get(queue, key) as { key: string | null };
      const set = this.#file.sql("fair.nextSet").get(queue, key) as { field: string | null };
      const [next] = [waiting.key, running.key, set.field?.slice(1)].filter((each) => typeof each === "string").toSorted(byBytes);
      if (next === undefined) return;
      key = next;
      yield next as FairKey;
    }
  }

  #seat(queue: number, { seat: number, key, credit }: { seat: number; key: FairKey; credit: number }, want: number): KeySeat {
    const { weight, limit, paused } = this.rights(queue, key);
    const waiting = this.waiting(queue, key, want + 1); // one more than can be taken tells that it stays
    const open = paused ? 0 : limit === undefined ? waiting : Math.max(0, Math.min(waiting, limit - this.running(queue, key)));
    return { number, key, credit, weight, waiting, open };
  }

  #settings(queue: number, field: string): FairSettings | undefined {
    const row = this.#file.sql("fair.rights").get(queue, field) as SettingsRow | undefined;
    if (row === undefined) return undefined;
    return {
      ...(row.weight !== null && { weight: row.weight }),
      ...(row.most !== null && { limit: row.most }),
      ...(row.paused !== null && { paused: JSON.parse(row.paused) as FairPause }), // only `set` writes it
    };
  }

  #mark(queue: number): void {
    const now = this.#file.clock.now();
    const seen = this.#file.sql("fair.looked").get(queue) as { looked: number } | undefined;
    if (seen === undefined || now - seen.looked >= MARK_EVERY_MS) this.#file.sql("fair.look").run(queue, now);
  }
}

/** As SQLite compares; keys are ASCII. */
const byBytes = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
