/** What becomes of the lock that a task holds, when the task ends, goes on, or begins without a loan. Pure. */
import type { Settlement } from "../brokers/broker.ts";
import type { UniqueStep } from "../brokers/uniques.ts";
import { readUnique, UNIQUE_HEADER, type UniqueRule } from "../protocol/unique.ts";
import type { ReceivedTask } from "../protocol/task-message.ts";
import type { Outcome } from "./outcome.ts";
import type { LoanlessSettlement } from "./settle.ts";

const FREE = { kind: "free" } as const;

/** Undefined for a task that holds no lock, or one that ends by itself. */
function lockOf({ message: { headers } }: ReceivedTask): UniqueRule | undefined {
  if (headers[UNIQUE_HEADER] === undefined) return undefined;
  const rule = readUnique(headers[UNIQUE_HEADER]);
  return rule?.mode === "time" ? undefined : rule;
}

/** Whether its lock is to be free when the body begins. */
export const isUniqueUntilStarted = (received: ReceivedTask): boolean => lockOf(received)?.mode === "started";

/** Undefined: the settlement leaves the lock as it is, such as when the message goes back to its queue. */
export function planLock(
  received: ReceivedTask,
  settlement: Settlement | LoanlessSettlement,
  queue: string,
  outcome?: Outcome,
): UniqueStep | undefined {
  const rule = lockOf(received);
  if (rule === undefined) return undefined;
  const isOver = settlement.delivery === undefined || settlement.end.kind === "ack" || settlement.end.kind === "deadLetter";
  if (!isOver) return undefined;
  const delayMs = outcome?.kind === "retry" ? (outcome.plan.delayMs ?? 0) : outcome?.kind === "snoozed" ? outcome.delayMs : undefined;
  const goesOn = delayMs !== undefined || outcome?.kind === "yielded";
  // A debounced one replaces nothing any more, whatever becomes of it.
  const what = goesOn && rule.mode !== "debounce" ? ({ kind: "keep", ttlMs: Math.ceil(rule.ttlMs + (delayMs ?? 0)) } as const) : FREE;
  return { name: rule.name, taskId: received.id, queue, what };
}

/** Before the body of a task begins. */
export function lockAtStart(received: ReceivedTask, queue: string, worker: string): UniqueStep | undefined {
  const rule = lockOf(received);
  if (rule === undefined) return undefined;
  const isOver = rule.mode === "started" || rule.mode === "debounce";
  return { name: rule.name, taskId: received.id, queue, what: isOver ? FREE : { kind: "own", worker } };
}
