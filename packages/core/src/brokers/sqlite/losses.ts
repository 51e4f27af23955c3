/** What becomes of the loans of a worker that is gone, in a write transaction of the file. */
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import type { DeadLetterCaps } from "../broker.ts";
import { afterLoss } from "../losses.ts";
import { poisonRecord } from "../envelope-edits.ts";
import { LeaseRows, type WorkerRow } from "./lease-rows.ts";
import { MessageRows } from "./message-rows.ts";
import { freeLockOf } from "./uniques.ts";

export interface LossLimits {
  /** At so many losses a message is dead-lettered. */
  readonly maxDeliveries: number;
  readonly deadLetterCaps: DeadLetterCaps;
}

/** The messages return to the front, marked redelivered and with their losses counted, or go to the dead letters. */
export function loseLoans(file: SqliteFile, { holder, name }: WorkerRow, { maxDeliveries, deadLetterCaps }: LossLimits) {
  const messages = new MessageRows(file);
  const loans = new LeaseRows(file).takeLoans(holder).map((row) => ({ ...row, losses: afterLoss({ ...row, hasBegun: row.begun === 1 }) }));
  const poison = loans.filter(({ losses }) => losses >= maxDeliveries);
  const returned = loans.filter(({ losses }) => losses < maxDeliveries);
  for (const row of poison) {
    const envelope = messages.envelope(row.message);
    const record = poisonRecord(envelope, row.losses, name, file.clock.now());
    freeLockOf(file, messages, envelope);
    messages.bury(row, record, deadLetterCaps);
  }
  for (const { message } of returned) messages.markRedelivered(message);
  messages.returned(returned);
  return { returned: returned.length, buried: poison.length };
}
