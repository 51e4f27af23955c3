/**
 * Groups as rows: here and not with the backend, because the broker registers parts in the transaction that ends a loan.
 * Each function is to be called in a transaction.
 */
import type { SqliteFile } from "./file.ts";
import { type ResultRow, storeResults } from "./result-rows.ts";

/** The shape of the result backend's parts. */
export interface PartRow {
  readonly groupId: string;
  readonly taskId: string;
  readonly index: number | undefined;
  readonly part: string | Uint8Array;
  readonly result: ResultRow | undefined;
  readonly expiresMs: number | undefined;
  readonly rootId: string;
  readonly priority: number;
  readonly body: string;
}

/** How long it is the caller's to end a group that his part completed. */
const COMPLETED_MS = 3000;
/** When a new group is looked at, should it be quiet. */
const LOOK_MS = 1000;

/** Stores the member's result and registers its part. Whether this part completed its group, which is due then. */
export function registerPart(file: SqliteFile, row: PartRow, now: number): boolean {
  const { groupId, taskId, index, part, result, expiresMs, rootId, priority, body } = row;
  if (result !== undefined) storeResults(file, [result], now);
  file.sql("group.touch").run(groupId, expiresMs === undefined ? null : now + expiresMs, rootId, priority, now + LOOK_MS);
  const before = countsOf(file, groupId).count;
  file.sql("group.add").run(groupId, taskId, index ?? Number.MAX_SAFE_INTEGER, isSuccess(part, taskId) ? 1 : 0, part);
  if (body !== "") file.sql("group.note").run(groupId, body);
  const { expected, is_known: isKnown, count } = countsOf(file, groupId);
  if (!isKnown || before >= expected || count < expected) return false;
  file.sql("group.setDue").run(groupId, now + COMPLETED_MS, taskId, rootId, priority);
  return true;
}

/** Removes all that is kept of a group. Whether it was due. */
export function endGroup(file: SqliteFile, groupId: string): boolean {
  const row = file.sql("group.end").get(groupId) as { due: number } | undefined;
  file.sql("group.forget").run(groupId);
  return row?.due === 1;
}

function countsOf(file: SqliteFile, groupId: string): { expected: number; is_known: number; count: number } {
  return file.sql("group.expected").get(groupId) as { expected: number; is_known: number; count: number };
}

/** The state stands right behind the id, whatever the serializer. */
function isSuccess(part: string | Uint8Array, taskId: string): boolean {
  const text = typeof part === "string" ? part : Buffer.from(part).toString("latin1");
  const end = text.indexOf(taskId) + taskId.length;
  const at = text.indexOf("SUCCESS", end);
  return at >= 0 && at - end < 8;
}
