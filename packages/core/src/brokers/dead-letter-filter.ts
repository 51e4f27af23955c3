/** Which dead letters are meant, and how many are kept. Pure. */
import type { DeadLetterCaps, DeadLetterFilter, DeadLetterRecord } from "./broker.ts";

export const DEAD_LETTERS_KEPT = 10_000;

export function matches(record: DeadLetterRecord, { reasons, tasks, since, before }: DeadLetterFilter = {}): boolean {
  return (
    (reasons === undefined || reasons.includes(record.reason)) &&
    (tasks === undefined || (record.task !== undefined && tasks.includes(record.task))) &&
    (since === undefined || record.at >= since) &&
    (before === undefined || record.at < before)
  );
}

/** As a broker's spec names them. */
export interface DeadLetterCapsSpec {
  /** Dead letters kept for each queue; the oldest go first. Default 10,000. */
  readonly deadLetterMax?: number | undefined;
  /** Bytes of them kept for each queue. Default: no limit. */
  readonly deadLetterMaxBytes?: number | undefined;
  /** Default: no limit. */
  readonly deadLetterMaxAgeMs?: number | undefined;
}

export function deadLetterCaps(spec: DeadLetterCapsSpec): DeadLetterCaps {
  return {
    max: spec.deadLetterMax ?? DEAD_LETTERS_KEPT,
    maxBytes: spec.deadLetterMaxBytes ?? Infinity,
    maxAgeMs: spec.deadLetterMaxAgeMs ?? Infinity,
  };
}
