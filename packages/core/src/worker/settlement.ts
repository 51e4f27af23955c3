/**
 * Turns what became of a task into what is done about it: how its loan ends, what is stored, what is published.
 * Pure: facts in, plan out; `settle.ts` performs it. After Celery, worker/request.py and celery-protocol.md 1.6 and 7.7.
 *
 * Invariant: an outcome that is not final (retry, requeue) publishes or requeues in the same settlement that ends the
 * loan; one that is final ends it with its result.
 */
import type { ResolvedTaskOptions } from "../app/task-options.ts";
import type { RetryPlan } from "../app/task-signals.ts";
import type { Delivery, LoanEnd, Outgoing, Settlement } from "../brokers/broker.ts";
import { toWireException } from "../protocol/exception.ts";
import { formatInstant } from "../protocol/instant.ts";
import { writableArgs as writableError } from "../protocol/result.ts";
import { type Embed, type ReceivedTask, retryMessage } from "../protocol/task-message.ts";
import { type BatchReport, planRefusedReport, planReport } from "./batch-reports.ts";
import type { Outcome } from "./outcome.ts";
import type { LoanlessSettlement } from "./settle.ts";
import { knownAgain } from "./unknown-task.ts";
import { planDeadLetter, deadLetterRecord, told } from "./dead-letter-plan.ts";
import { goingOn, iterationHeaders } from "./continuation.ts";
import { type EndedRun, policyOf, type SettlementRules } from "./ended-run.ts";
import { planLock } from "./unique-plan.ts";
import { failureOf, planResult, tracebackOf, writeResult } from "./result-plan.ts";
import { parentOf, planHandOver, planWorkflow, StepDraft, type WorkflowRules, type WorkflowStep } from "./workflow.ts";

const ACK: LoanEnd = { kind: "ack" };
const TO_BACK: LoanEnd = { kind: "requeue", to: "back" };
const TO_FRONT: LoanEnd = { kind: "requeue", to: "front" };
const LOST: LoanEnd = { kind: "requeue", to: "front", isLoss: true };
const NOTHING: readonly never[] = [];

/**
 * `now`: ms since 1970, by the broker's clock.
 * @throws ProtocolError when a value cannot be written: the outcome is a failure then.
 */
export function planSettlement(outcome: Outcome, run: EndedRun, rules: SettlementRules, now: number): PlannedSettlement {
  const planned = planWithWorkflow(outcome, run, rules, now);
  const report = planReport(outcome, run, planned, rules);
  const unique = planLock(run.received, planned, run.delivery.queue, outcome);
  if (unique !== undefined) return { ...planned, unique, ...(report && { report }) };
  return report === undefined ? planned : { ...planned, report };
}

function planWithWorkflow(outcome: Outcome, run: EndedRun, rules: SettlementRules, now: number): PlannedSettlement {
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
export type PlannedSettlement = (Settlement | LoanlessSettlement) & {
  readonly workflow?: WorkflowStep;
  /** For the batch that it is a member of. */
  readonly report?: BatchReport;
};

function factsOfRun({ received, delivery, isAcked, options, children, iterated }: EndedRun): EndedRun {
  return { received, delivery, isAcked, options, children, iterated };
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
  if (outcome.kind === "replaced") return planHandOver(received, outcome.by, workflows, now);
  if (outcome.kind === "ignored") return planMember(received, workflows, now);
  const failure = failureOf(outcome, run, rules);
  if (failure === undefined) return undefined;
  const state = failure.state === "REVOKED" ? "REVOKED" : "FAILURE";
  return planFailure(received, state, failure.error, workflows, now);
}

function planMember(received: ReceivedTask, workflows: WorkflowRules, now: number): WorkflowStep | undefined {
  const { embed } = received.body();
  if (embed.chord === null && !embed.chain?.length) return undefined;
  const draft = new StepDraft(parentOf(received), workflows, now);
  draft.pass(received, embed);
  return draft.parts.length === 0 ? undefined : draft;
}

function planFailure(
  received: ReceivedTask,
  state: "FAILURE" | "REVOKED",
  error: unknown,
  workflows: WorkflowRules,
  now: number,
): WorkflowStep | undefined {
  const ending = { state, error: writableError(toWireException(error)), traceback: tracebackOf(error) };
  let embed: Embed;
  try {
    embed = received.body().embed;
  } catch {
    const draft = new StepDraft(parentOf(received), workflows, now);
    draft.afterUnreadable(received, ending);
    return draft.parts.length === 0 ? undefined : draft;
  }
  return planWorkflow(received, embed, ending, workflows, now);
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
  return { delivery: run.delivery, end: goingOn(endOfLoan(outcome, run), run), results, publish };
}

/** How the loan of a late ack ends that is no dead letter's. */
function endOfLoan(outcome: Outcome, run: EndedRun): LoanEnd {
  switch (outcome.kind) {
    case "succeeded":
    case "retry":
    case "snoozed":
    case "ignored":
    case "replaced":
    case "revoked":
    case "failed":
      return ACK;
    case "timedOut":
      return run.options.acksOnTimeout ? ACK : TO_BACK;
    case "rejected":
      return outcome.requeue ? TO_BACK : ACK;
    case "childLost":
      return run.options.rejectOnWorkerLost ? LOST : ACK;
    case "yielded":
      return outcome.to === "front" ? TO_FRONT : TO_BACK;
    case "interrupted":
      return TO_FRONT;
    case "leaseLost":
      // Fenced: where the loan is gone this does nothing, and one that was made after the lease was renewed is not stranded.
      return TO_FRONT;
  }
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
  const results = keepsResult ? [writeResult("FAILURE", undefined, error, run, rules, now, kept)] : NOTHING;
  const policy = options?.deadLetter ?? rules.deadLetterOf(delivery.queue);
  const publish = told(record, delivery, received, policy, rules, now);
  const settlement: Settlement = { delivery, end: rules.keepsDeadLetters ? { kind: "deadLetter", record } : ACK, results, publish };
  const workflow = rules.workflows && planFailure(received, "FAILURE", error, rules.workflows, now);
  const report = planRefusedReport({ received }, settlement);
  const unique = planLock(received, settlement, delivery.queue);
  return { ...settlement, ...(workflow && { workflow }), ...(report && { report }), ...(unique && { unique }) };
}

function planFollowUp(outcome: Outcome, run: EndedRun, rules: SettlementRules, now: number): readonly Outgoing[] {
  if (outcome.kind === "retry") return [planRetry(outcome.plan, run, rules, now)];
  if (outcome.kind === "snoozed") return [planSnooze(outcome.delayMs, run, rules, now)];
  // It was acknowledged before it began: there is no loan to give back, so that the rest of it is a message anew.
  return outcome.kind === "yielded" && run.isAcked ? [planSnooze(0, run, rules, now)] : NOTHING;
}

/** The message as it was, due later. */
function planSnooze(delayMs: number, run: EndedRun, rules: SettlementRules, now: number): Outgoing {
  const { received } = run;
  const { info, retries } = received;
  const eta = formatInstant(now + delayMs);
  const headers = { ...knownAgain(received), ...iterationHeaders(run) };
  const message = retryMessage(received, { retries, eta, headers, ...(run.iterated && { expires: null }) }, rules.codec);
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
      headers: { ...changes.headers, ...knownAgain(received), ...iterationHeaders(run) },
    },
    rules.codec,
  );
  if (changes.queue !== undefined) return { message, exchange: "", routingKey: changes.queue };
  return { message, exchange: changes.exchange ?? received.info.exchange, routingKey: changes.routingKey ?? received.info.routingKey };
}
