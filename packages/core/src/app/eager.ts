/** Runs a task in the caller's process, as a worker would, without a broker: `task.apply()` and `taskAlwaysEager`. For tests. */
import { checkArguments } from "../protocol/task-message.ts";
import { decodeBody, encodeBody, contentTypesFor } from "../protocol/serializers.ts";
import { toWireException } from "../protocol/exception.ts";
import { encodeResult, type ResultDocument } from "../protocol/result.ts";
import { argsRepr, kwargsRepr } from "../protocol/python-repr.ts";
import { formatInstant } from "../protocol/instant.ts";
import { newId } from "../shared/ids.ts";
import { parseDuration } from "../shared/duration.ts";
import type { Lovage } from "./app.ts";
import type { HandOver } from "../canvas/replace.ts";
import { AsyncResult } from "./async-result.ts";
import type { BatchEnds } from "./batch-task.ts";
import type { CallOptions, Kwargs } from "./call-options.ts";
import { CallError } from "./errors.ts";
import { runAsTask } from "./process-wide.ts";
import { decideAutomaticRetry } from "./retry-plan.ts";
import { RunningTask, type RunServices } from "./running-task.ts";
import type { Task } from "./task.ts";
import type { TaskContext, TaskRequest } from "./task-context.ts";
import { isTaskSignal, Retry } from "./task-signals.ts";
import { embedOf } from "./wire-options.ts";

/** The outcome of a task that ran here: every question is answered at once, and `get()` throws the very error that the task threw. */
export class EagerResult<Result = unknown> extends AsyncResult<Result> {}

export interface EagerCall {
  readonly args: readonly unknown[];
  readonly kwargs: Kwargs;
  readonly options: CallOptions;
  readonly parent: Pick<TaskContext, "id" | "rootId"> | undefined;
}

/** A task that waits for something by snoozing never sees it in a call that does not wait. */
const MOST_SNOOZES = 100;

/** How one task ended: its document, unless something else runs in its place. */
export interface EagerEnd {
  readonly request: TaskRequest;
  readonly document: ResultDocument | undefined;
  /** What it threw. */
  readonly error: unknown;
  readonly by: HandOver | undefined;
}

/** Retries and snoozes run at once, one after the other, as in Celery's eager mode. */
export async function runTask(app: Lovage, task: Task, call: EagerCall, hands: EagerHands): Promise<EagerEnd> {
  const id = call.options.taskId ?? newId();
  const [args, kwargs] = throughTheWire(app, call);
  let snoozes = 0;
  let request = eagerRequest(app, task, call, id, args, kwargs);
  for (;;) {
    const attempt = await runOnce(app, task, request, hands);
    if (attempt.kind === "replaced") return { request, document: undefined, error: undefined, by: attempt.by };
    if (attempt.kind !== "again") return await finish(app, task, request, attempt);
    request = attempt.request;
    if (attempt.snoozed && ++snoozes > MOST_SNOOZES)
      throw new CallError(
        task.name,
        `${task.name} snoozed ${snoozes} times in an eager call, where no time passes between: it would go on for ever`,
      );
  }
}

/** What a task may do to the workflow that it runs in. */
export type EagerHands = Pick<RunServices, "sendMember">;

type Attempt =
  | {
      readonly kind: "done";
      readonly state: string;
      readonly value?: unknown;
      readonly error?: unknown;
      readonly children: readonly unknown[];
    }
  | { readonly kind: "again"; readonly request: TaskRequest; readonly snoozed?: boolean }
  | { readonly kind: "replaced"; readonly by: HandOver };

async function runOnce(app: Lovage, task: Task, request: TaskRequest, hands: EagerHands): Promise<Attempt> {
  const { options } = task;
  const { hooks } = options;
  const ctx = new RunningTask(request, {
    app,
    options,
    clock: app.clock,
    random: app.random,
    signal: () => new AbortController().signal,
    storeState: (state, meta) => storeState(app, task, request, state, meta),
    ...hands,
  });
  return runAsTask(ctx, async () => {
    try {
      await hooks.beforeStart?.(ctx);
      const value = await (task.options.batch ? invokeAlone(task, ctx, request) : task.invoke(ctx, request.args, request.kwargs));
      await hooks.onSuccess?.(value, ctx);
      await hooks.afterReturn?.("SUCCESS", value, ctx);
      return { kind: "done", state: "SUCCESS", value, children: ctx.children };
    } catch (thrown) {
      const error = retrySignal(ctx, thrown, task);
      if (isTaskSignal(error) && error.kind === "retry") {
        await hooks.onRetry?.(error.plan.error, ctx);
        const { changes, retries } = error.plan;
        return {
          kind: "again",
          request: {
            ...request,
            retries,
            args: changes.args ?? request.args,
            kwargs: changes.kwargs ?? request.kwargs,
            headers: { ...request.headers, ...changes.headers },
            startedAt: app.clock.now(),
          },
        };
      }
      if (isTaskSignal(error) && error.kind === "replace") return { kind: "replaced", by: error.by };
      if (isTaskSignal(error) && error.kind === "snooze") return { kind: "again", request, snoozed: true };
      if (isTaskSignal(error))
        return { kind: "done", state: error.kind === "ignore" ? "IGNORED" : "REJECTED", error, children: ctx.children };
      await hooks.onFailure?.(error, ctx);
      await hooks.afterReturn?.("FAILURE", error, ctx);
      return { kind: "done", state: "FAILURE", error, children: ctx.children };
    }
  });
}

/** A batch of one: what became of its item is what became of the call. */
async function invokeAlone(task: Task, ctx: TaskContext, request: TaskRequest): Promise<unknown> {
  const { each } = (await task.invoke(ctx, [{ ...request }], {})) as BatchEnds; // what invoking a task of batches returns
  const [end] = each;
  if (end !== undefined && "thrown" in end) throw end.thrown;
  return end?.value;
}

/** Turns an error that the options retry by themselves into the signal for it; what the user's own functions throw is the error. */
function retrySignal(ctx: RunningTask, thrown: unknown, task: Task): unknown {
  if (isTaskSignal(thrown)) return thrown;
  const { app, retries, headers, startedAt } = ctx;
  try {
    const step = decideAutomaticRetry(thrown, { retries, headers, startedAt, now: app.clock.now() }, task.options.retry, app.random);
    return step === undefined ? thrown : new Retry({ ...step, etaAt: undefined });
  } catch (thrownByUser) {
    return thrownByUser;
  }
}

async function finish(app: Lovage, task: Task, request: TaskRequest, attempt: Attempt & { kind: "done" }): Promise<EagerEnd> {
  const failed = attempt.state !== "SUCCESS";
  const document: ResultDocument = {
    taskId: request.id,
    state: attempt.state,
    result: failed ? undefined : attempt.value,
    error: failed ? toWireException(attempt.error) : undefined,
    traceback: attempt.error instanceof Error ? (attempt.error.stack ?? null) : null,
    children: [...attempt.children],
    dateDoneAt: app.clock.now(),
  };
  if (task.options.storeEagerResult && !task.options.ignoreResult) await store(app, task, document);
  return { request, document, error: failed ? attempt.error : undefined, by: undefined };
}

/** What a worker would see: arguments that JSON changes are changed here too, and those that it cannot write are refused. */
function throughTheWire(app: Lovage, call: EagerCall): [readonly unknown[], Kwargs] {
  const serializer = call.options.serializer ?? app.settings.taskSerializer;
  checkArguments(call.args, call.kwargs, serializer);
  const part = encodeBody([call.args, call.kwargs], { serializer });
  return decodeBody(part, { accept: contentTypesFor([serializer]) }) as [readonly unknown[], Kwargs];
}

function eagerRequest(app: Lovage, task: Task, call: EagerCall, id: string, args: readonly unknown[], kwargs: Kwargs): TaskRequest {
  const { options, parent } = call;
  const { callbacks, errbacks, chain, chord } = embedOf(options);
  const now = app.clock.now();
  const expiresMs = options.expires instanceof Date ? options.expires.getTime() - now : parseDuration(options.expires);
  return {
    id,
    task: task.name,
    args,
    kwargs,
    argsrepr: options.argsrepr ?? argsRepr(args),
    kwargsrepr: options.kwargsrepr ?? kwargsRepr(kwargs),
    rootId: options.rootId ?? parent?.rootId ?? id,
    parentId: options.parentId ?? parent?.id,
    group: options.groupId,
    groupIndex: options.groupIndex,
    correlationId: id,
    replyTo: options.replyTo,
    retries: 0,
    eta: undefined,
    expires: expiresMs === undefined ? undefined : formatInstant(now + expiresMs),
    timeLimitMs: parseDuration(options.timeLimit),
    softTimeLimitMs: parseDuration(options.softTimeLimit),
    ignoreResult: options.ignoreResult ?? null,
    replacedTaskNesting: options.replacedTaskNesting ?? 0,
    headers: options.headers ?? {},
    stampedHeaders: options.stampedHeaders,
    stamps: options.stamps ?? {},
    shadow: options.shadow,
    origin: undefined,
    delivery: { queue: undefined, exchange: "", routingKey: "", priority: options.priority ?? 0, redelivered: false },
    callbacks: callbacks ?? undefined,
    errbacks: errbacks ?? undefined,
    chain: chain ?? undefined,
    chord,
    hostname: undefined,
    workerPid: process.pid,
    startedAt: now,
    isEager: true,
  };
}

async function storeState(app: Lovage, task: Task, request: TaskRequest, state: string, meta: unknown): Promise<void> {
  if (!task.options.storeEagerResult) return;
  await store(app, task, { taskId: request.id, state, result: meta, error: undefined, traceback: null, children: [], dateDoneAt: null });
}

async function store(app: Lovage, task: Task, document: ResultDocument): Promise<void> {
  const backend = await app.backend();
  const text = encodeResult(document, { serializer: app.settings.resultSerializer });
  await backend?.store([{ taskId: document.taskId, state: document.state, document: text, expiresMs: task.options.resultExpiresMs }]);
}
