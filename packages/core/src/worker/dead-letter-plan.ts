/** Which outcomes make a dead letter, and what is written and published of it. */
import type { DeadLetterPolicy } from "../app/dead-letter-policy.ts";
import type { DeadLetterReason, DeadLetterRecord, Delivery, Outgoing } from "../brokers/broker.ts";
import { TimeLimitExceeded } from "../protocol/celery-errors.ts";
import { formatInstant } from "../protocol/instant.ts";
import { encodeTaskMessage, type ReceivedTask } from "../protocol/task-message.ts";
import { newId } from "../shared/ids.ts";
import { type EndedRun, isPoison, policyOf, type SettlementRules } from "./ended-run.ts";
import { framesOf, oneLine } from "./error-texts.ts";
import type { Outcome } from "./outcome.ts";

const NOTHING: readonly never[] = [];

/** The record of a message that is to be kept, by the task's policy; undefined when it is not. */
export function planDeadLetter(outcome: Outcome, run: EndedRun, rules: SettlementRules, now: number): DeadLetterRecord | undefined {
  const cause = deadCause(outcome, run, rules);
  if (cause === undefined || !policyOf(run, rules).on.has(cause.reason)) return undefined;
  const record = deadLetterRecord(cause.reason, cause.error, run.delivery, run.received, rules.worker, now);
  return cause.reason === "poison" ? { ...record, losses: run.delivery.losses + 1 } : record;
}

interface DeadCause {
  readonly reason: DeadLetterReason;
  readonly error: unknown;
}

/** Why its message will not be run any more, as far as that may make it a dead letter. */
function deadCause(outcome: Outcome, run: EndedRun, rules: SettlementRules): DeadCause | undefined {
  const { options, isAcked } = run;
  switch (outcome.kind) {
    case "failed":
      return failedFor(outcome.error, run, options.acksOnFailure, rules);
    case "timedOut":
      return isAcked || options.acksOnTimeout ? failedFor(new TimeLimitExceeded(outcome.limitMs / 1000), run, true, rules) : undefined;
    case "rejected":
      return outcome.requeue && !isAcked ? undefined : { reason: "rejected", error: outcome.reason };
    case "childLost":
      if (isAcked || !options.rejectOnWorkerLost) return failedFor(outcome.error, run, true, rules);
      return isPoison(run, rules) ? { reason: "poison", error: outcome.error } : undefined;
    case "revoked":
      return outcome.how === "expired" ? { reason: "expired", error: "it expired before it could start" } : undefined;
    case "succeeded":
    case "retry":
    case "snoozed":
    case "yielded":
    case "ignored":
    case "replaced":
    case "interrupted":
    case "leaseLost":
      return undefined;
  }
}

/** Where failures are not acknowledged they are rejections, as in Celery, unless the policy asks for them by their own name. */
function failedFor(error: unknown, run: EndedRun, isAcknowledged: boolean, rules: SettlementRules): DeadCause {
  const { received } = run;
  const { maxRetries } = run.options.retry;
  const reason = received.retries > 0 && maxRetries !== undefined && received.retries >= maxRetries ? "retriesExhausted" : "failed";
  return { reason: isAcknowledged || policyOf(run, rules).on.has(reason) ? reason : "rejected", error };
}

/** Set on what is published to a dead-letter queue; where it is there already, nothing is published again. */
const DEAD_HEADER = "lovage_dead";

/** What is published to the dead-letter queue of the policy: the message as it was, or a call of the handler task. */
export function told(
  record: DeadLetterRecord,
  delivery: Delivery,
  received: ReceivedTask,
  { queue, task }: DeadLetterPolicy,
  rules: SettlementRules,
  now: number,
): readonly Outgoing[] {
  const { message, id, rootId } = received;
  if (queue === undefined || DEAD_HEADER in message.headers) return NOTHING;
  const provenance = {
    id: record.id,
    task: record.task ?? null,
    queue: delivery.queue,
    reason: record.reason,
    error: record.error,
    worker: record.worker,
    at: formatInstant(record.at).text,
    retries: record.retries,
    losses: record.losses,
  };
  if (task === undefined) {
    const { redelivered: _, ...headers } = message.headers;
    return [{ message: { ...message, headers: { ...headers, [DEAD_HEADER]: provenance } }, exchange: "", routingKey: queue }];
  }
  if (record.reason === "undecodable") return NOTHING; // its arguments cannot be handed on
  const { args, kwargs } = received.body();
  const call = { id: newId(), task, args: [...args, record.error], kwargs, rootId, parentId: id, headers: { [DEAD_HEADER]: provenance } };
  return [{ message: encodeTaskMessage(call, { ...rules.codec, now }), exchange: "", routingKey: queue }];
}

export function deadLetterRecord(
  reason: DeadLetterReason,
  error: unknown,
  delivery: Delivery,
  received: ReceivedTask | undefined,
  worker: string,
  now: number,
): DeadLetterRecord {
  return {
    id: received?.id ?? newId(),
    task: received?.task,
    reason,
    error: oneLine(error),
    ...framesOf(error),
    worker,
    at: now,
    losses: delivery.losses,
    retries: received?.retries ?? 0,
  };
}
