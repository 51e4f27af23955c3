/**
 * Turns what became of a task into what is done about it: how its loan ends, what is stored, what is published.
 * Pure: facts in, plan out; `settle.ts` performs it. After Celery, worker/request.py and celery-protocol.md 1.6 and 7.7.
 *
 * Invariant: an outcome that is not final (retry, requeue) publishes or requeues in the same settlement that ends the
 * loan; one that is final ends it with its result.
 */
import type { DeadLetterPolicy } from "../app/dead-letter-policy.ts";
import type { ResolvedTaskOptions } from "../app/task-options.ts";
import type { RetryPlan } from "../app/task-signals.ts";
import type { DeadLetterReason, DeadLetterRecord, Delivery, LoanEnd, Outgoing, Settlement } from "../brokers/broker.ts";
import { NotRegistered, Reject, TaskRevokedError, TimeLimitExceeded, WorkerLostError } from "../protocol/celery-errors.ts";
import { toWireException, type WireException } from "../protocol/exception.ts";
import { formatInstant } from "../protocol/instant.ts";
import { encodeResult, writableArgs as writableError, type ResultDocument } from "../protocol/result.ts";
import { type Embed, encodeTaskMessage, type MessageCodec, type ReceivedTask, retryMessage } from "../protocol/task-message.ts";
import type { ResultWrite } from "../results/result-backend.ts";
import { errorText } from "../shared/errors.ts";
import { newId } from "../shared/ids.ts";
import type { Outcome } from "./outcome.ts";
import type { LoanlessSettlement } from "./settle.ts";
import { knownAgain } from "./unknown-task.ts";
import { planWorkflow, type WorkflowRules, type WorkflowStep } from "./workflow.ts";

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
  /** The policy of a queue, for tasks that have none of their own and for messages whose task is not known here. */
  deadLetterOf(queue: string): DeadLetterPolicy;
  /** undefined: nothing follows from a task. */
  readonly workflows?: WorkflowRules | undefined;
}

const ACK: LoanEnd = { kind: "ack" };
const TO_BACK: LoanEnd = { kind: "requeue", to: "back" };
const TO_FRONT: LoanEnd = { kind: "requeue", to: "front" };
const LOST: LoanEnd = { kind: "requeue", to: "front", isLoss: true };
const NOTHING: readonly never[] = [];
/** Characters of a stack that a dead letter keeps. */
const STACK_MAX = 4000;

/**
 * `now`: ms since 1970, by the broker's clock.
 * @throws ProtocolError when a value cannot be written: the outcome is a failure then.
 */
export function planSettlement(outcome: Outcome, run: EndedRun, rules: SettlementRules, now: number): PlannedSettlement {
  const workflow = planNext(outcome, run, rules, now);
  if (workflow === undefined) return planAlone(outcome, run, rules, now);
  const children = [...run.children, ...workflow.children];
  const alone = planAlone(outcome, { ...factsOfRun(run), children }, rules, now);
  // A member's result is stored in the step that registers its part.
  const [own] = alone.results ?? NOTHING;
  if (own === undefined || !workflow.parts.some(({ taskId }) => taskId === run.received.id)) return { ...alone, workflow };
  const parts = workflow.parts.map((part) => (part.taskId === run.received.id ? { ...part, result: own } : part));
  return { ...alone, results: NOTHING, workflow: { ...stepOf(workflow), parts } };
}

/** With what depends on the task. */
export type PlannedSettlement = (Settlement | LoanlessSettlement) & { readonly workflow?: WorkflowStep };

function factsOfRun({ received, delivery, isAcked, options, children }: EndedRun): EndedRun {
  return { received, delivery, isAcked, options, children };
}

function stepOf({ publish, results, sizes, nested, parts, children, parent }: WorkflowStep): WorkflowStep {
  return { publish, results, sizes, nested, parts, children, parent };
}

/** What the rest of its workflow is told of its end; undefined while it has none, or nothing depends on it. */
function planNext(outcome: Outcome, run: EndedRun, rules: SettlementRules, now: number): WorkflowStep | undefined {
  const { workflows } = rules;
  if (workflows === undefined) return undefined;
  const { received } = run;
  if (outcome.kind === "succeeded")
    return planWorkflow(received, received.body().embed, { state: "SUCCESS", value: outcome.value }, workflows, now);
  // Nothing is called with what it did not return, but its chord must not wait for it.
  if (outcome.kind === "ignored") return planMember(received, workflows, now);
  const failure = failureOf(outcome, run, rules);
  if (failure === undefined) return undefined;
  const state = failure.state === "REVOKED" ? "REVOKED" : "FAILURE";
  return planFailure(received, state, failure.error, workflows, now);
}

function planMember(received: ReceivedTask, workflows: WorkflowRules, now: number): WorkflowStep | undefined {
  const { chord } = received.body().embed;
  const embed = { callbacks: null, errbacks: null, chain: null, chord };
  return chord === null ? undefined : planWorkflow(received, embed, { state: "SUCCESS", value: null }, workflows, now);
}

function planFailure(
  received: ReceivedTask,
  state: "FAILURE" | "REVOKED",
  error: unknown,
  workflows: WorkflowRules,
  now: number,
): WorkflowStep | undefined {
  let embed: Embed;
  try {
    embed = received.body().embed;
  } catch {
    return undefined; // who depends on it stands in what cannot be read
  }
  return planWorkflow(received, embed, { state, error: writableError(toWireException(error)) }, workflows, now);
}

/** The settlement of a task on which nothing depends. */
function planAlone(outcome: Outcome, run: EndedRun, rules: SettlementRules, now: number): Settlement | LoanlessSettlement {
  const dead = planDeadLetter(outcome, run, rules, now);
  const results = planResult(outcome, run, rules, now, run.isAcked || !rules.keepsDeadLetters ? undefined : dead);
  if (dead !== undefined) {
    const publish = told(dead, run.delivery, run.received, policyOf(run, rules), rules, now);
    if (run.isAcked) return { delivery: undefined, queue: run.delivery.queue, results, publish };
    return { delivery: run.delivery, end: rules.keepsDeadLetters ? { kind: "deadLetter", record: dead } : ACK, results, publish };
  }
  const publish = planFollowUp(outcome, run, rules, now);
  if (run.isAcked) return { delivery: undefined, queue: run.delivery.queue, results, publish };
  return { delivery: run.delivery, end: endOfLoan(outcome, run), results, publish };
}

/** How the loan of a late ack ends that is no dead letter's. */
function endOfLoan(outcome: Outcome, run: EndedRun): LoanEnd {
  switch (outcome.kind) {
    case "succeeded":
    case "retry":
    case "snoozed":
    case "ignored":
    case "revoked":
    case "failed":
      return ACK;
    case "timedOut":
      return run.options.acksOnTimeout ? ACK : TO_BACK;
    case "rejected":
      return outcome.requeue ? TO_BACK : ACK;
    case "childLost":
      return run.options.rejectOnWorkerLost ? LOST : ACK;
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

// --- dead letters --------------------------------------------------------------------------------------------------

/** The task's own, else its queue's. */
function policyOf({ options, delivery }: Pick<EndedRun, "options" | "delivery">, rules: SettlementRules): DeadLetterPolicy {
  return options.deadLetter ?? rules.deadLetterOf(delivery.queue);
}

/** The record of a message that is to be kept, by the task's policy; undefined when it is not. */
function planDeadLetter(outcome: Outcome, run: EndedRun, rules: SettlementRules, now: number): DeadLetterRecord | undefined {
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
    case "ignored":
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
export const DEAD_HEADER = "lovage_dead";

/** What is published to the dead-letter queue of the policy: the message as it was, or a call of the handler task. */
function told(
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

/** For a message that must not run: its task is not known, its body cannot be read, or it kills what runs it. Stored as FAILURE. */
export function planRefusal(
  reason: "unknownTask" | "undecodable" | "poison",
  error: unknown,
  delivery: Delivery,
  received: ReceivedTask,
  rules: SettlementRules,
  now: number,
  /** Of the task, where it is known. */
  options?: ResolvedTaskOptions,
): PlannedSettlement {
  const record = deadLetterRecord(reason, error, delivery, received, rules.worker, now);
  const isIgnored = received.ignoreResult ?? options?.ignoreResult ?? false;
  const keepsResult = rules.keepsResults && (!isIgnored || options?.storeErrorsEvenIfIgnored === true);
  const expiresMs = options === undefined ? rules.resultExpiresMs : options.resultExpiresMs;
  const run = { received, children: NOTHING, expiresMs, isReadable: reason !== "undecodable" };
  const kept = rules.keepsDeadLetters ? { queue: delivery.queue, reason } : undefined;
  const results = keepsResult ? [write("FAILURE", undefined, error, run, rules, now, kept)] : NOTHING;
  const policy = options?.deadLetter ?? rules.deadLetterOf(delivery.queue);
  const publish = told(record, delivery, received, policy, rules, now);
  const settlement: Settlement = { delivery, end: rules.keepsDeadLetters ? { kind: "deadLetter", record } : ACK, results, publish };
  const workflow = rules.workflows && planFailure(received, "FAILURE", error, rules.workflows, now);
  return workflow === undefined ? settlement : { ...settlement, workflow };
}

/** Where an error was thrown, without its text: that may hold arguments. */
function framesOf(error: unknown): { readonly stack?: string } {
  if (!(error instanceof Error) || isOurVerdict(error) || error.stack === undefined) return {};
  const frames = error.stack.split("\n").filter((line) => /^\s+at /.test(line));
  return frames.length === 0 ? {} : { stack: frames.join("\n").slice(0, STACK_MAX) };
}

/** An error's name and the first line of its text. */
function oneLine(error: unknown): string {
  const name = error instanceof Error ? `${error.name}: ` : "";
  return (name + (errorText(error).split("\n", 1)[0] ?? "")).slice(0, 300);
}

// --- results -------------------------------------------------------------------------------------------------------

function planResult(
  outcome: Outcome,
  run: EndedRun,
  rules: SettlementRules,
  now: number,
  dead: DeadLetterRecord | undefined,
): readonly ResultWrite[] {
  if (!rules.keepsResults) return NOTHING;
  // The message's word counts before the task's; null leaves it to the task (celery-protocol.md 1.1, `ignore_result`).
  const isIgnored = run.received.ignoreResult ?? run.options.ignoreResult;
  if (outcome.kind === "succeeded") return isIgnored ? NOTHING : [write("SUCCESS", outcome.value, undefined, factsOf(run), rules, now)];
  if (outcome.kind === "retry") return isIgnored ? NOTHING : [write("RETRY", null, outcome.plan.error, factsOf(run), rules, now)];
  // Celery has no word for it; RETRY is what its readers take for "runs again".
  if (outcome.kind === "snoozed") return isIgnored ? NOTHING : [write("RETRY", null, undefined, factsOf(run), rules, now)];
  if (isIgnored && !run.options.storeErrorsEvenIfIgnored) return NOTHING;
  const failure = failureOf(outcome, run, rules);
  if (failure === undefined) return NOTHING;
  const kept = dead && { queue: run.delivery.queue, reason: dead.reason };
  return [write(failure.state, undefined, failure.error, factsOf(run), rules, now, kept)];
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
    case "snoozed":
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

function write(
  state: string,
  value: unknown,
  error: unknown,
  run: DocumentFacts,
  rules: SettlementRules,
  now: number | null,
  deadLetter?: ResultDocument["deadLetter"],
): ResultWrite {
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
    deadLetter,
    ...(rules.resultExtended ? { extended: extendedFacts(run, rules), stamps: received.stamps } : {}),
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

function planFollowUp(outcome: Outcome, run: EndedRun, rules: SettlementRules, now: number): readonly Outgoing[] {
  if (outcome.kind === "retry") return [planRetry(outcome.plan, run, rules, now)];
  return outcome.kind === "snoozed" ? [planSnooze(outcome.delayMs, run, rules, now)] : NOTHING;
}

/** The message as it was, due later. */
function planSnooze(delayMs: number, { received }: EndedRun, rules: SettlementRules, now: number): Outgoing {
  const { info, retries } = received;
  const eta = formatInstant(now + delayMs);
  const message = retryMessage(received, { retries, eta, headers: knownAgain(received) }, rules.codec);
  return { message, exchange: info.exchange, routingKey: info.routingKey };
}

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
