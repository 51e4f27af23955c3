/** Revocations in a table of their own. */
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import type { KeptMark, RevocationCaps, RevocationCursor, RevocationPage, RevocationPageOptions, Revocations } from "../broker.ts";

/** Marks in one transaction. */
const SLICE = 1000;

interface Row {
  readonly number: number;
  readonly mark: string;
  readonly at: number;
}

export class SqliteRevocations implements Revocations {
  readonly #file: SqliteFile;
  readonly #timing: { readonly timeoutMs: number };
  readonly #caps: RevocationCaps;

  constructor(file: SqliteFile, timing: { readonly timeoutMs: number }, caps: RevocationCaps) {
    this.#file = file;
    this.#timing = timing;
    this.#caps = caps;
  }

  async add(marks: readonly string[]): Promise<number> {
    let crowdedOut = 0;
    for (let from = 0; from < marks.length; from += SLICE) {
      crowdedOut += await this.#file.write(() => this.#add(marks.slice(from, from + SLICE)), this.#timing);
    }
    return crowdedOut;
  }

  async page({ limit, after, newest }: RevocationPageOptions): Promise<RevocationPage> {
    const { ttlMs } = this.#caps;
    return await this.#file.read(() => {
      const now = this.#file.clock.now();
      const from = after === undefined ? this.#before(newest) : Number(after);
      const rows = this.#file.sql("revoked.page").all(from, Math.floor(now - ttlMs), limit) as Row[];
      const marks = rows.map(({ mark, at }): KeptMark => ({ mark, leftMs: at + ttlMs - now }));
      return { marks, cursor: String(rows.at(-1)?.number ?? after ?? 0) as RevocationCursor };
    }, this.#timing);
  }

  async among(marks: readonly string[]): Promise<ReadonlySet<string>> {
    return await this.#file.read(() => {
      const since = Math.floor(this.#file.clock.now() - this.#caps.ttlMs);
      return new Set(marks.filter((mark) => this.#file.sql("revoked.has").get(mark, since) !== undefined));
    }, this.#timing);
  }

  /** In a transaction. */
  #add(marks: readonly string[]): number {
    const now = Math.floor(this.#file.clock.now());
    for (const mark of marks) this.#file.sql("revoked.add").run(mark, now);
    this.#file.sql("revoked.forget").run(now - this.#caps.ttlMs);
    const over = this.#over();
    if (over > 0) this.#file.sql("revoked.crowdOut").run(over);
    return over;
  }

  /** They are counted only when they may be too many: a span of numbers holds at most one mark each. */
  #over(): number {
    const { span } = this.#file.sql("revoked.span").get() as { span: number | null };
    if ((span ?? 0) <= this.#caps.max) return 0;
    const { count } = this.#file.sql("revoked.count").get() as { count: number };
    return Math.max(0, count - this.#caps.max);
  }

  #before(newest: number | undefined): number {
    if (newest === undefined) return 0;
    return (this.#file.sql("revoked.before").get(newest) as { number: number } | undefined)?.number ?? 0;
  }
}
