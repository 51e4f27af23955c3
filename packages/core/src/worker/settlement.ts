/**
 * Turns what became of a task into what is done about it: how its loan ends, what is stored, what is published.
 * Pure: facts in, plan out; `settle.ts` performs it. After Celery, worker/request.py and celery-protocol.md 1.6 and 7.7.
 *
 * Invariant: an outcome that is not final (retry, requeue) publishes or requeues in the same settlement that ends the
 * loan; one that is final ends it with its result.
 */
import type { ResolvedTaskOptions } from "../app/task-options.ts";
import type { RetryPlan } from "../app/task-signals.ts";
import type { DeadLetterRecord, Delivery, LoanEnd, Outgoing, Settlement } from "../brokers/broker.ts";
import { NotRegistered, Reject, TaskRevokedError, TimeLimitExceeded, WorkerLostError } from "../protocol/celery-errors.ts";
import { toWireException, type WireException } from "../protocol/exception.ts";
import { formatInstant } from "../protocol/instant.ts";
import { encodeResult, type ResultDocument } from "../protocol/result.ts";
import { type MessageCodec, type ReceivedTask, retryMessage } from "../protocol/task-message.ts";
import type { ResultWrite } from "../results/result-backend.ts";
import { errorText } from "../shared/errors.ts";
import { newId } from "../shared/ids.ts";
import type { Outcome } from "./outcome.ts";
import type { LoanlessSettlement } from "./settle.ts";
import { knownAgain } from "./unknown-task.ts";

/** A run that has ended, or one that will not begin. */
export interface EndedRun {
  readonly received: ReceivedTask;
  readonly delivery: Delivery;
  /** Acknowledged before it ran: there is no loan to end. */
  readonly isAcked: boolean;
  readonly options: ResolvedTaskOptions;
  /** Result tuples of the tasks that it sent. */
  readonly children: readonly unknown[];
}

/** What is the same for all tasks of a worker. */
export interface SettlementRules {
  /** `celery@host`. */
  readonly worker: string;
  /** False without a result backend. */
  readonly keepsResults: boolean;
  /** False where the broker has no place for them: such messages are acknowledged. */
  readonly keepsDeadLetters: boolean;
  readonly resultSerializer: string;
  readonly resultExtended: boolean;
  /** For tasks that say nothing else; undefined keeps results for ever. */
  readonly resultExpiresMs: number | undefined;
  readonly codec: MessageCodec;
  /** At so many losses a message is dead-lettered. */
  readonly maxDeliveries: number;
}

const ACK: LoanEnd = { kind: "ack" };
const TO_BACK: LoanEnd = { kind: "requeue", to: "back" };
const TO_FRONT: LoanEnd = { kind: "requeue", to: "front" };
const LOST: LoanEnd = { kind: "requeue", to: "front", isLoss: true };
const NOTHING: readonly never[] = [];

/**
 * `now`: ms since 1970, by the broker's clock.
 * @throws ProtocolError when a value cannot be written: the outcome is a failure then.
 */
export function planSettlement(outcome: Outcome, run: EndedRun, rules: SettlementRules, now: number): Settlement | LoanlessSettlement {
  const results = planResult(outcome, run, rules, now);
  const publish = outcome.kind === "retry" ? [planRetry(outcome.plan, run, rules, now)] : NOTHING;
  if (run.isAcked) return { delivery: undefined, results, publish };
  return { delivery: run.delivery, end: endOfLoan(outcome, run, rules, now), results, publish };
}

/** How the loan of a late ack ends. */
export function endOfLoan(outcome: Outcome, run: EndedRun, rules: SettlementRules, now: number): LoanEnd {
  switch (outcome.kind) {
    case "succeeded":
    case "retry":
    case "ignored":
    case "revoked":
      return ACK;
    case "failed":
      return run.options.acksOnFailure ? ACK : refuse(outcome.error, run, rules, now);
    case "timedOut":
      return run.options.acksOnTimeout ? ACK : TO_BACK;
    case "rejected":
      return outcome.requeue ? TO_BACK : refuse(outcome.reason, run, rules, now);
    case "childLost":
      if (!run.options.rejectOnWorkerLost) return ACK;
      return isPoison(run, rules) ? poisoned(outcome.error, run, rules, now) : LOST;
    case "interrupted":
      return TO_FRONT;
    case "leaseLost":
      // Fenced: where the loan is gone this does nothing, and one that was made after the lease was renewed is not stranded.
      return TO_FRONT;
  }
}

/** It has been lost as often as a message may be, this time included: it kills what runs it. */
function isPoison({ delivery }: EndedRun, { maxDeliveries }: SettlementRules): boolean {
  return delivery.losses + 1 >= maxDeliveries;
}

function poisoned(error: unknown, run: EndedRun, rules: SettlementRules, now: number): LoanEnd {
  if (!rules.keepsDeadLetters) return ACK;
  const record = deadLetterRecord("poison", oneLine(error), run.delivery, run.received, rules.worker, now);
  return { kind: "deadLetter", record: { ...record, losses: run.delivery.losses + 1 } };
}

function refuse(reason: unknown, run: EndedRun, rules: SettlementRules, now: number): LoanEnd {
  if (!rules.keepsDeadLetters) return ACK;
  return { kind: "deadLetter", record: deadLetterRecord("rejected", oneLine(reason), run.delivery, run.received, rules.worker, now) };
}

export function deadLetterRecord(
  reason: DeadLetterRecord["reason"],
  error: string,
  delivery: Delivery,
  received: ReceivedTask | undefined,
  worker: string,
  now: number,
): DeadLetterRecord {
  return {
    id: received?.id ?? newId(),
    task: received?.task,
    reason,
    error,
    worker,
    at: now,
    losses: delivery.losses,
    retries: received?.retries ?? 0,
  };
}

/** For a message of which nothing can be run: its task is not known, or its body cannot be read. Stored as FAILURE. */
export function planRefusal(
  reason: "unknownTask" | "undecodable",
  error: unknown,
  delivery: Delivery,
  received: ReceivedTask,
  rules: SettlementRules,
  now: number,
): Settlement {
  const record = deadLetterRecord(reason, oneLine(error), delivery, received, rules.worker, now);
  const keepsResult = rules.keepsResults && received.ignoreResult !== true;
  const run = { received, children: NOTHING, expiresMs: rules.resultExpiresMs, isReadable: reason !== "undecodable" };
  const results = keepsResult ? [write("FAILURE", undefined, error, run, rules, now)] : NOTHING;
  return { delivery, end: rules.keepsDeadLetters ? { kind: "deadLetter", record } : ACK, results, publish: NOTHING };
}

/** An error's name and the first line of its text. */
function oneLine(error: unknown): string {
  const name = error instanceof Error ? `${error.name}: ` : "";
  return (name + (errorText(error).split("\n", 1)[0] ?? "")).slice(0, 300);
}

// --- results -------------------------------------------------------------------------------------------------------

function planResult(outcome: Outcome, run: EndedRun, rules: SettlementRules, now: number): readonly ResultWrite[] {
  if (!rules.keepsResults) return NOTHING;
  // The message's word counts before the task's; null leaves it to the task (celery-protocol.md 1.1, `ignore_result`).
  const isIgnored = run.received.ignoreResult ?? run.options.ignoreResult;
  if (outcome.kind === "succeeded") return isIgnored ? NOTHING : [write("SUCCESS", outcome.value, undefined, factsOf(run), rules, now)];
  if (outcome.kind === "retry") return isIgnored ? NOTHING : [write("RETRY", null, outcome.plan.error, factsOf(run), rules, now)];
  if (isIgnored && !run.options.storeErrorsEvenIfIgnored) return NOTHING;
  const failure = failureOf(outcome, run, rules);
  return failure === undefined ? NOTHING : [write(failure.state, undefined, failure.error, factsOf(run), rules, now)];
}

/** The error that a final outcome is recorded with; undefined when the message goes back and nothing is final. */
function failureOf(
  outcome: Outcome,
  run: EndedRun,
  rules: SettlementRules,
): { readonly state: string; readonly error: unknown } | undefined {
  switch (outcome.kind) {
    case "failed":
      return { state: "FAILURE", error: outcome.error };
    case "timedOut":
      return run.isAcked || run.options.acksOnTimeout
        ? { state: "FAILURE", error: new TimeLimitExceeded(outcome.limitMs / 1000) }
        : undefined;
    case "rejected":
      return outcome.requeue && !run.isAcked ? undefined : { state: "FAILURE", error: new Reject(oneLine(outcome.reason), false) };
    case "childLost":
      return run.isAcked || !run.options.rejectOnWorkerLost || isPoison(run, rules)
        ? { state: "FAILURE", error: new WorkerLostError(oneLine(outcome.error)) }
        : undefined;
    case "interrupted":
      return run.isAcked ? { state: "FAILURE", error: new WorkerLostError("the worker stopped before the task had ended") } : undefined;
    case "revoked":
      return { state: "REVOKED", error: new TaskRevokedError(outcome.how) };
    case "succeeded":
    case "retry":
    case "ignored":
    case "leaseLost":
      return undefined;
  }
}

/** A state of a task that still runs: STARTED, PROGRESS, a custom one. */
export function writeOfState(state: string, meta: unknown, run: EndedRun, rules: SettlementRules): ResultWrite {
  return write(state, meta, undefined, factsOf(run), rules, null);
}

/** What a document says besides state and value. */
interface DocumentFacts {
  readonly received: ReceivedTask;
  readonly children: readonly unknown[];
  readonly expiresMs: number | undefined;
  /** Its arguments can be decoded. */
  readonly isReadable: boolean;
}

function factsOf(run: EndedRun): DocumentFacts {
  return { received: run.received, children: run.children, expiresMs: run.options.resultExpiresMs, isReadable: true };
}

function write(state: string, value: unknown, error: unknown, run: DocumentFacts, rules: SettlementRules, now: number | null): ResultWrite {
  const { received } = run;
  const wire: WireException | undefined = error === undefined ? undefined : toWireException(error);
  const document: ResultDocument = {
    taskId: received.id,
    state,
    result: value,
    error: wire,
    traceback: error === undefined || isOurVerdict(error) ? null : tracebackOf(error),
    children: state === "RETRY" ? [...run.children, [[received.id, null], null]] : run.children,
    dateDoneAt: state === "RETRY" ? null : now,
    parentId: received.parentId,
    groupId: received.group,
    ...(rules.resultExtended ? { extended: extendedFacts(run, rules) } : {}),
  };
  return { taskId: received.id, state, document: encodeResult(document, { serializer: rules.resultSerializer }), expiresMs: run.expiresMs };
}

/** Begins as Python's do, so that monitors show it as one. */
function tracebackOf(error: unknown): string | null {
  return error instanceof Error && error.stack !== undefined ? `Traceback (most recent call last):\n${error.stack}` : null;
}

/** Worker-side verdicts have no stack that would tell a user anything. */
function isOurVerdict(error: unknown): boolean {
  return (
    error instanceof TaskRevokedError ||
    error instanceof TimeLimitExceeded ||
    error instanceof NotRegistered ||
    error instanceof WorkerLostError
  );
}

function extendedFacts(run: DocumentFacts, rules: SettlementRules): NonNullable<ResultDocument["extended"]> {
  const { received } = run;
  const { args, kwargs } = run.isReadable ? received.body() : { args: [], kwargs: {} };
  return { name: received.task, args, kwargs, worker: rules.worker, retries: received.retries, queue: received.info.routingKey };
}

// --- retries -------------------------------------------------------------------------------------------------------

function planRetry(plan: RetryPlan, run: EndedRun, rules: SettlementRules, now: number): Outgoing {
  const { received } = run;
  const { changes } = plan;
  const etaAt = plan.etaAt ?? (plan.delayMs > 0 ? now + plan.delayMs : undefined);
  const message = retryMessage(
    received,
    {
      retries: plan.retries,
      eta: etaAt === undefined ? null : formatInstant(etaAt),
      parentId: received.id,
      ...(changes.args ? { args: changes.args } : {}),
      ...(changes.kwargs ? { kwargs: changes.kwargs } : {}),
      ...(changes.expiresAt === undefined ? {} : { expires: changes.expiresAt === null ? null : formatInstant(changes.expiresAt) }),
      ...(changes.timeLimitMs === undefined ? {} : { timeLimitMs: changes.timeLimitMs }),
      ...(changes.softTimeLimitMs === undefined ? {} : { softTimeLimitMs: changes.softTimeLimitMs }),
      ...(changes.priority === undefined ? {} : { priority: changes.priority }),
      headers: { ...changes.headers, ...knownAgain(received) },
    },
    rules.codec,
  );
  if (changes.queue !== undefined) return { message, exchange: "", routingKey: changes.queue };
  return { message, exchange: changes.exchange ?? received.info.exchange, routingKey: changes.routingKey ?? received.info.routingKey };
}
