/**
 * Results as rows. Here and not with the backend, because the broker stores results in the transaction that ends a loan.
 */
import type { SqliteFile } from "./file.ts";

/** A document and how long it is kept; the shape of the result backend's writes. */
export interface ResultRow {
  readonly taskId: string;
  readonly state: string;
  readonly document: string | Uint8Array;
  readonly expiresMs: number | undefined;
}

/** Expired rows that go with each new one: more than one, so that what has piled up melts away. */
const EXPIRED_PER_ROW = 2;

/** To be called in a transaction. Deletes what has expired as it goes, so that the file does not grow for ever. */
export function storeResults(file: SqliteFile, rows: readonly ResultRow[], now: number): void {
  if (rows.length === 0) return;
  const { last } = file.sql("result.takeNumbers").get(rows.length) as { last: number };
  const store = file.sql("result.store");
  let number = last - rows.length;
  for (const { taskId, state, document, expiresMs } of rows) {
    store.run(++number, taskId, state, document, expiresMs === undefined ? null : now + expiresMs, now);
  }
  file.sql("result.expire").run(now, EXPIRED_PER_ROW * rows.length);
}
