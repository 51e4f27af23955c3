/** Revocations of a memory broker. */
import type { Clock } from "../../shared/clock.ts";
import type { KeptMark, RevocationCaps, RevocationCursor, RevocationPage, RevocationPageOptions, Revocations } from "../broker.ts";
import type { MemoryStore } from "./store.ts";

export class MemoryRevocations implements Revocations {
  readonly #store: MemoryStore;
  readonly #clock: Clock;
  readonly #caps: RevocationCaps;

  constructor(store: MemoryStore, clock: Clock, caps: RevocationCaps) {
    this.#store = store;
    this.#clock = clock;
    this.#caps = caps;
  }

  async add(marks: readonly string[]): Promise<number> {
    const { revoked } = this.#store;
    const now = this.#clock.now();
    for (const mark of marks) {
      revoked.delete(mark); // to the end
      revoked.set(mark, { number: this.#store.nextNumber(), until: now + this.#caps.ttlMs });
    }
    let crowdedOut = 0;
    for (const [mark, { until }] of revoked) {
      if (until > now && revoked.size <= this.#caps.max) break;
      if (until > now) crowdedOut += 1;
      revoked.delete(mark);
    }
    return crowdedOut;
  }

  async page({ limit, after, newest = Infinity }: RevocationPageOptions): Promise<RevocationPage> {
    const now = this.#clock.now();
    const kept = [...this.#store.revoked].filter(([, { until, number }]) => until > now && number > Number(after ?? 0));
    const from = after === undefined ? Math.max(0, kept.length - newest) : 0;
    const rows = kept.slice(from, from + limit);
    const marks = rows.map(([mark, { until }]): KeptMark => ({ mark, leftMs: until - now }));
    return { marks, cursor: String(rows.at(-1)?.[1].number ?? after ?? 0) as RevocationCursor };
  }

  async among(marks: readonly string[]): Promise<ReadonlySet<string>> {
    const now = this.#clock.now();
    return new Set(marks.filter((mark) => (this.#store.revoked.get(mark)?.until ?? 0) > now));
  }
}
