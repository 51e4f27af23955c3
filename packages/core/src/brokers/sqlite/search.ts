/** Reads loans, ready and parked messages in portions. */
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import { atMost, type FoundMessage, type MessagePlace, type MessageSearch, type SearchOptions } from "../search.ts";

interface Row {
  readonly envelope: string | Uint8Array;
  readonly worker?: string;
  readonly due?: number;
  readonly id?: string;
  readonly [column: string]: unknown;
}

type Place = readonly (string | number)[];

/** The columns by which a table is read in portions, in the order of its key, and what comes before all of them. */
const ORDERS = {
  "search.loans": { columns: ["holder", "take", "message"], start: [-1, 0, 0] },
  "search.ready": { columns: ["step", "place"], start: [-1, 0] },
  "search.keyed": { columns: ["key", "step", "place", "message"], start: ["", -1, 0, 0] },
  "search.parked": { columns: ["due", "message"], start: [-1, 0] },
  "search.held": { columns: ["id", "since", "ordinal", "number"], start: ["", -1, 0, 0] },
} as const;

const PAGE = 500;
/** They hold up to a thousand messages each, usually few. */
const GROUPS = 20;

export class SqliteSearch implements MessageSearch {
  readonly #file: SqliteFile;
  readonly #timeoutMs: number;

  constructor(file: SqliteFile, { timeoutMs }: { readonly timeoutMs: number }) {
    this.#file = file;
    this.#timeoutMs = timeoutMs;
  }

  messages({ queues, ...bounds }: SearchOptions): AsyncIterable<readonly FoundMessage[]> {
    return atMost(this.#all(queues), bounds);
  }

  async *#all(queues: readonly string[]): AsyncGenerator<readonly FoundMessage[], void, undefined> {
    yield* this.#rows("search.loans", [], ({ worker }) => ({ kind: "loan", worker }));
    for (const queue of queues) {
      yield* this.#rows("search.held", [queue], ({ id = "" }) => ({ kind: "held", queue, limit: id }));
      yield* this.#rows("search.ready", [queue], () => ({ kind: "queue", queue }));
      yield* this.#rows("search.keyed", [queue], () => ({ kind: "queue", queue }));
      yield* this.#rows("search.parked", [queue], ({ due = 0 }) => ({ kind: "parked", queue, dueAt: due }));
      yield* this.#folded(queue);
    }
  }

  async *#folded(queue: string): AsyncGenerator<readonly FoundMessage[]> {
    for (let beyond = ""; ;) {
      const groups = await this.#file.read(
        () => {
          const page = this.#file.sql("search.groups").all(queue, beyond, GROUPS) as { name: string; due: number }[];
          return page.map(({ name, due }) => ({ name, due, rows: this.#file.sql("aggregate.first").all(name, -1) as unknown as Row[] }));
        },
        { timeoutMs: this.#timeoutMs },
      );
      for (const { due, rows } of groups) yield rows.map(({ envelope }) => ({ at: { kind: "parked", queue, dueAt: due }, raw: envelope }));
      if (groups.length < GROUPS) return;
      beyond = groups.at(-1)?.name ?? "";
    }
  }

  async *#rows(
    statement: keyof typeof ORDERS,
    bounds: readonly string[],
    placeOf: (row: Row) => MessagePlace,
  ): AsyncGenerator<readonly FoundMessage[]> {
    const { columns, start } = ORDERS[statement];
    for (let beyond: Place = start; ;) {
      const rows = await this.#file.read(() => this.#file.sql(statement).all(...bounds, ...beyond, PAGE) as unknown as Row[], {
        timeoutMs: this.#timeoutMs,
      });
      if (rows.length > 0) yield rows.map((row) => ({ at: placeOf(row), raw: row.envelope }));
      const last = rows.at(-1);
      if (last === undefined || rows.length < PAGE) return;
      beyond = columns.map((column) => last[column] as string | number);
    }
  }
}
