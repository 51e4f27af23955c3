/** What is stored of a task: the document of its state. */
import type { DeadLetterRecord } from "../brokers/broker.ts";
import { Reject, TaskRevokedError, TimeLimitExceeded, WorkerLostError } from "../protocol/celery-errors.ts";
import { toWireException, type WireException } from "../protocol/exception.ts";
import { encodeResult, type ResultDocument } from "../protocol/result.ts";
import type { ReceivedTask } from "../protocol/task-message.ts";
import type { ResultWrite } from "../results/result-backend.ts";
import { type EndedRun, isPoison, type SettlementRules } from "./ended-run.ts";
import { isOurVerdict, oneLine } from "./error-texts.ts";
import type { Outcome } from "./outcome.ts";

const NOTHING: readonly never[] = [];

export function planResult(
  outcome: Outcome,
  run: EndedRun,
  rules: SettlementRules,
  now: number,
  dead: DeadLetterRecord | undefined,
): readonly ResultWrite[] {
  if (!rules.keepsResults) return NOTHING;
  // The message's word counts before the task's; null leaves it to the task (celery-protocol.md 1.1, `ignore_result`).
  const isIgnored = run.received.ignoreResult ?? run.options.ignoreResult;
  if (outcome.kind === "succeeded")
    return isIgnored ? NOTHING : [writeResult("SUCCESS", outcome.value, undefined, factsOf(run), rules, now)];
  if (outcome.kind === "retry") return isIgnored ? NOTHING : [writeResult("RETRY", null, outcome.plan.error, factsOf(run), rules, now)];
  // Celery has no word for it; RETRY is what its readers take for "runs again".
  if (outcome.kind === "snoozed") return isIgnored ? NOTHING : [writeResult("RETRY", null, undefined, factsOf(run), rules, now)];
  if (outcome.kind === "yielded") return isIgnored ? NOTHING : progressOf(run, rules);
  if (isIgnored && !run.options.storeErrorsEvenIfIgnored) return NOTHING;
  const failure = failureOf(outcome, run, rules);
  if (failure === undefined) return NOTHING;
  const kept = dead && { queue: run.delivery.queue, reason: dead.reason };
  return [writeResult(failure.state, undefined, failure.error, factsOf(run), rules, now, kept)];
}

/** Where a task stands that was interrupted between two steps; nothing when it tells its state itself. */
function progressOf(run: EndedRun, rules: SettlementRules): readonly ResultWrite[] {
  return run.iterated?.progress === undefined ? NOTHING : [writeOfState("PROGRESS", run.iterated.progress, run, rules)];
}

/** The error that a final outcome is recorded with; undefined when the message goes back and nothing is final. */
export function failureOf(
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
    case "yielded":
    case "ignored":
    case "replaced":
    case "leaseLost":
      return undefined;
  }
}

/** A state of a task that still runs: STARTED, PROGRESS, a custom one. */
export function writeOfState(state: string, meta: unknown, run: EndedRun, rules: SettlementRules): ResultWrite {
  return writeResult(state, meta, undefined, factsOf(run), rules, null);
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

export function writeResult(
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
    extended: rules.resultExtended ? extendedFacts(run, rules) : undefined,
    stamps: rules.resultExtended ? received.stamps : undefined,
  };
  return { taskId: received.id, state, document: encodeResult(document, { serializer: rules.resultSerializer }), expiresMs: run.expiresMs };
}

/** Begins as Python's do, so that monitors show it as one. */
export function tracebackOf(error: unknown): string | null {
  return error instanceof Error && error.stack !== undefined ? `Traceback (most recent call last):\n${error.stack}` : null;
}

function extendedFacts(run: DocumentFacts, rules: SettlementRules): NonNullable<ResultDocument["extended"]> {
  const { received } = run;
  const { args, kwargs } = run.isReadable ? received.body() : { args: [], kwargs: {} };
  return { name: received.task, args, kwargs, worker: rules.worker, retries: received.retries, queue: received.info.routingKey };
}
