/** Sources for `ctx.iterate` out of what programs usually have: lists, pages, streams. */
import type { IterationSource, IterationStep } from "./iteration.ts";

/** A list. The cursor is the index of the next item: the list must be the same whenever the task goes on. */
export function eachOf<Item>(list: readonly Item[]): IterationSource<Item, number> {
  return function* (cursor = 0): Iterable<IterationStep<Item, number>> {
    for (let index = cursor; index < list.length; index++) yield [list[index] as Item, index + 1];
  };
}

/** The whole numbers from `start` up to and without `end`. The cursor is the next number. */
export function range(start: number, end: number): IterationSource<number, number> {
  return function* (cursor = start): Iterable<IterationStep<number, number>> {
    for (let number = cursor; number < end; number++) yield [number, number + 1];
  };
}

/** One page, and how to ask for the one after it: undefined when it was the last. */
export interface SourcePage<Item, Cursor> {
  readonly items: readonly Item[];
  readonly next: Cursor | undefined;
}

/**
 * Whole pages of an API or a query, one a step: `fetch` is called with `next` of the page before, undefined for the first.
 * A page whose work is not done is fetched again.
 */
export function pages<Item, Cursor>(
  fetch: (next: Cursor | undefined) => Promise<SourcePage<Item, Cursor>>,
): IterationSource<readonly Item[], { readonly next: Cursor } | "end"> {
  return async function* (cursor): AsyncGenerator<IterationStep<readonly Item[], { readonly next: Cursor } | "end">, void, undefined> {
    let at = cursor;
    while (at !== "end") {
      const page = await fetch(at?.next);
      at = page.next === undefined ? "end" : { next: page.next };
      yield [page.items, at];
    }
  };
}

/**
 * Rows in the order of a key that grows (an id, a time with an id): `fetch` is called with the key of the last row done,
 * undefined at the start, and answers with the rows above it, a bounded number at a time and none at the end. Fast however far it has come.
 */
export function rowsByKey<Row, Key>(
  fetch: (after: Key | undefined) => Promise<readonly Row[]>,
  keyOf: (row: Row) => Key,
): IterationSource<Row, Key> {
  return async function* (cursor): AsyncGenerator<IterationStep<Row, Key>, void, undefined> {
    for (let after = cursor; ;) {
      const rows = await fetch(after);
      if (rows.length === 0) return;
      for (const row of rows) {
        after = keyOf(row);
        yield [row, after];
      }
    }
  };
}

/**
 * What can only be read from its start: lines of a file (`readline`), rows of a CSV parser. The cursor is how many were done;
 * going on reads and skips those.
 */
export function counted<Item>(open: () => AsyncIterable<Item> | Iterable<Item>): IterationSource<Item, number> {
  return async function* (cursor = 0): AsyncGenerator<IterationStep<Item, number>, void, undefined> {
    let count = 0;
    for await (const item of open()) {
      count += 1;
      if (count > cursor) yield [item, count];
    }
  };
}
