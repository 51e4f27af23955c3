/**
 * The context of one run of a task: facts, and the way to ask for things. Made by workers and by eager calls.
 * What is seldom used (log, signal) is made when it is first asked for: a context must cost next to nothing.
 */
import { checkPriority } from "./call-options.ts";
import { replacement } from "../canvas/replace.ts";
import type { ResultTuple } from "../canvas/result-tuple.ts";
import { sizeOf } from "../canvas/steps.ts";
import { MaxRetriesExceededError } from "../protocol/celery-errors.ts";
import type { WireInstant } from "../protocol/message.ts";
import type { Clock, Random } from "../shared/clock.ts";
import { DURATION_ACCEPTED, parseDuration, type Duration } from "../shared/duration.ts";
import type { Logger } from "../shared/log.ts";
import type { Lovage } from "./app.ts";
import { sealArguments } from "./encrypted-arguments.ts";
import { CallError } from "./errors.ts";
import { type Iterated, type IterateOptions, ITERATION_HEADER, Iterations, type IterationSource, type Steps } from "./iteration.ts";
import { type AnyResult, resultOf } from "./group-result.ts";
import { dataOf, Signature } from "./signature.ts";
import { asFellowMember, type FellowMember, replacedBy, sendMember } from "./workflow-place.ts";
import { decideRetry } from "./retry-plan.ts";
import type { RetryRequest, SnoozeOptions, TaskContext, TaskDelivery, TaskRequest, WholeSignature } from "./task-context.ts";
import type { ResolvedTaskOptions } from "./task-options.ts";
import { Ignore, Reject, Replace, Retry, Snooze, type RetryChanges } from "./task-signals.ts";

/** What the run offers its task. */
export interface RunServices {
  readonly app: Lovage;
  readonly options: ResolvedTaskOptions;
  readonly clock: Clock;
  readonly random: Random;
  /** Asked for at most once. */
  signal(): AbortSignal;
  /** Stores an intermediate state; resolves when the backend holds it. */
  storeState(state: string, meta: unknown): Promise<void>;
  /** Writes into the message how far its iterations have come. Never rejects. Absent where there is no message. */
  checkpoint?(text: string): Promise<void>;
  /** Sends one more member of its chord. Default: as the app does. */
  sendMember?(member: FellowMember): Promise<ResultTuple>;
}

export class RunningTask implements TaskContext {
  readonly #request: TaskRequest;
  readonly #services: RunServices;
  readonly #children: ResultTuple[] = [];
  #log: Logger | undefined;
  #signal: AbortSignal | undefined;
  #iterations: Iterations | undefined;
  #isInterrupted = false;
  /** It tells its state itself. */
  #tellsState = false;
  #progress: { waiting: unknown; sending: Promise<void> } | undefined;

  constructor(request: TaskRequest, services: RunServices) {
    this.#request = request;
    this.#services = services;
  }

  get app(): Lovage {
    return this.#services.app;
  }

  get signal(): AbortSignal {
    return (this.#signal ??= this.#services.signal());
  }

  get log(): Logger {
    return (this.#log ??= this.app.logger.child({ task: this.task, taskId: this.id }));
  }

  get children(): readonly ResultTuple[] {
    return this.#children;
  }

  /** Records a task, or a group of them, that this one sent. */
  addChild(child: ResultTuple): void {
    this.#children.push(child);
  }

  iterate<Item, Cursor>(source: IterationSource<Item, Cursor>, options?: IterateOptions): Steps<Item> {
    return (this.#iterations ??= this.#beginIterations()).begin(source, options);
  }

  #beginIterations(): Iterations {
    const { clock, checkpoint, options, storeState } = this.#services;
    const services = this.#services;
    const isIgnored = this.ignoreResult ?? options.ignoreResult;
    const iterations = new Iterations(this.task, this.headers[ITERATION_HEADER], {
      clock,
      checkpoint: checkpoint && ((text) => checkpoint.call(services, text)),
      progress: async (current, total) => {
        if (!isIgnored && !this.#tellsState) await storeState.call(services, "PROGRESS", progressDocument(current, total));
      },
    });
    if (this.#isInterrupted) iterations.interrupt();
    return iterations;
  }

  /** Its iteration is to stop after the step that it is at. For workers. */
  interrupt(): void {
    this.#isInterrupted = true;
    this.#iterations?.interrupt();
  }

  /** How far its iterations have come, undefined when there are none. For workers. @throws CallError when it cannot be written */
  get iterated(): Iterated | undefined {
    const text = this.#iterations?.text;
    if (text === undefined) return undefined;
    const latest = this.#iterations?.latest;
    return { text, progress: latest && !this.#tellsState ? progressDocument(latest.current, latest.total) : undefined };
  }

  async progress(current: number, total?: number, meta: Readonly<Record<string, unknown>> = {}): Promise<void> {
    this.#tellsState = true;
    const document = { ...progressDocument(current, total), ...meta };
    if (this.#progress) {
      this.#progress.waiting = document;
      return this.#progress.sending;
    }
    const progress: { waiting: unknown; sending: Promise<void> } = { waiting: document, sending: Promise.resolve() };
    this.#progress = progress;
    progress.sending = this.#sendProgress(progress);
    progress.sending.catch(() => {}); // progress that nobody awaits must not end the process
    return progress.sending;
  }

  async #sendProgress(progress: { waiting: unknown }): Promise<void> {
    try {
      while (progress.waiting !== undefined) {
        const document = progress.waiting;
        progress.waiting = undefined;
        await this.#services.storeState("PROGRESS", document);
      }
    } finally {
      this.#progress = undefined;
    }
  }

  async updateState(state: string, meta: unknown = null): Promise<void> {
    this.#tellsState = true;
    await this.#services.storeState(state, meta);
  }

  retry(request: RetryRequest = {}): never {
    const now = this.#services.clock.now();
    const { countdown, eta, error, maxRetries } = request;
    const etaAt = eta === undefined ? undefined : instantOf(this.task, "eta", eta);
    const askedMs = countdown === undefined ? undefined : durationOf(this.task, "countdown", countdown);
    const delayMs = etaAt === undefined ? askedMs : Math.max(0, etaAt - now);
    const { retries, headers, startedAt } = this;
    const { options, random } = this.#services;
    const step = decideRetry({ error, delayMs, maxRetries, isByHand: true }, { retries, headers, startedAt, now }, options.retry, random);
    if (step === undefined) throw error ?? new MaxRetriesExceededError(`Can't retry ${this.task}[${this.id}]`);
    const changes = this.#sealed(retryChanges(this.task, request, now));
    const ours = step.changes.headers;
    throw new Retry({ ...step, etaAt, changes: ours ? { ...changes, headers: { ...changes.headers, ...ours } } : changes });
  }

  /** Arguments that a task gives its next attempt are encrypted as those of a call. */
  #sealed(changes: RetryChanges): RetryChanges {
    const { encrypt } = this.#services.options;
    const { args, kwargs } = changes;
    if (encrypt === undefined || (args === undefined && kwargs === undefined)) return changes;
    const sealed = sealArguments({ args: args ?? [], kwargs: kwargs ?? {} }, encrypt, () => this.app.cipher, this.task);
    return { ...changes, ...(args && { args: sealed.args }), ...(kwargs && { kwargs: sealed.kwargs }) };
  }

  snooze(delay: Duration, { holdLimit = false }: SnoozeOptions = {}): never {
    throw new Snooze(durationOf(this.task, "delay", delay, "snooze"), holdLimit);
  }

  replace(signature: WholeSignature): never {
    throw new Replace({ kind: "call", signature: replacement(dataOf(signature), replacedBy(this)) });
  }

  addToChord(signature: WholeSignature, options: { readonly lazy: true }): Promise<Signature>;
  addToChord(signature: WholeSignature, options?: { readonly lazy?: boolean }): Promise<AnyResult>;
  async addToChord(signature: WholeSignature, { lazy = false } = {}): Promise<AnyResult | Signature> {
    const member = asFellowMember(dataOf(signature), this);
    if (lazy && this.isEager)
      throw new CallError(this.task, "in an eager call a member is added and run at once: nobody would count one that is added lazily");
    if (lazy) {
      await this.app.results.extendGroup(member.options.group_id, sizeOf(member));
      return new Signature(this.app, member);
    }
    const { sendMember: send = (each: typeof member) => sendMember(this.app, each) } = this.#services;
    return resultOf(this.app, await send(member));
  }

  ignore(): never {
    throw new Ignore();
  }

  reject(reason?: unknown, options?: { readonly requeue?: boolean }): never {
    throw new Reject(reason, options);
  }

  get id(): string {
    return this.#request.id;
  }
  get task(): string {
    return this.#request.task;
  }
  get args(): readonly unknown[] {
    return this.#request.args;
  }
  get kwargs(): Readonly<Record<string, unknown>> {
    return this.#request.kwargs;
  }
  get argsrepr(): string | undefined {
    return this.#request.argsrepr;
  }
  get kwargsrepr(): string | undefined {
    return this.#request.kwargsrepr;
  }
  get rootId(): string {
    return this.#request.rootId;
  }
  get parentId(): string | undefined {
    return this.#request.parentId;
  }
  get group(): string | undefined {
    return this.#request.group;
  }
  get groupIndex(): number | undefined {
    return this.#request.groupIndex;
  }
  get correlationId(): string | undefined {
    return this.#request.correlationId;
  }
  get replyTo(): string | undefined {
    return this.#request.replyTo;
  }
  get retries(): number {
    return this.#request.retries;
  }
  get eta(): WireInstant | undefined {
    return this.#request.eta;
  }
  get expires(): WireInstant | undefined {
    return this.#request.expires;
  }
  get timeLimitMs(): number | undefined {
    return this.#request.timeLimitMs;
  }
  get softTimeLimitMs(): number | undefined {
    return this.#request.softTimeLimitMs;
  }
  get ignoreResult(): boolean | null {
    return this.#request.ignoreResult;
  }
  get replacedTaskNesting(): number {
    return this.#request.replacedTaskNesting;
  }
  get headers(): Readonly<Record<string, unknown>> {
    return this.#request.headers;
  }
  get stampedHeaders(): readonly string[] | undefined {
    return this.#request.stampedHeaders;
  }
  get stamps(): Readonly<Record<string, unknown>> {
    return this.#request.stamps;
  }
  get shadow(): string | undefined {
    return this.#request.shadow;
  }
  get origin(): string | undefined {
    return this.#request.origin;
  }
  get delivery(): TaskDelivery {
    return this.#request.delivery;
  }
  get callbacks(): readonly unknown[] | undefined {
    return this.#request.callbacks;
  }
  get errbacks(): readonly unknown[] | undefined {
    return this.#request.errbacks;
  }
  get chain(): readonly unknown[] | undefined {
    return this.#request.chain;
  }
  get chord(): unknown {
    return this.#request.chord;
  }
  get hostname(): string | undefined {
    return this.#request.hostname;
  }
  get workerPid(): number {
    return this.#request.workerPid;
  }
  get startedAt(): number {
    return this.#request.startedAt;
  }
  get isEager(): boolean {
    return this.#request.isEager;
  }
}

function progressDocument(current: number, total: number | undefined): Readonly<Record<string, number>> {
  return { current, ...(total !== undefined && { total }) };
}

function retryChanges(task: string, request: RetryRequest, now: number): RetryChanges {
  const { args, kwargs, queue, exchange, routingKey, priority, timeLimit, softTimeLimit, expires, headers } = request;
  checkPriority(task, "retry", priority);
  return {
    ...(args && { args }),
    ...(kwargs && { kwargs }),
    ...(queue !== undefined && { queue }),
    ...(exchange !== undefined && { exchange }),
    ...(routingKey !== undefined && { routingKey }),
    ...(priority !== undefined && { priority }),
    ...(timeLimit !== undefined && { timeLimitMs: durationOf(task, "timeLimit", timeLimit) }),
    ...(softTimeLimit !== undefined && { softTimeLimitMs: durationOf(task, "softTimeLimit", softTimeLimit) }),
    ...(expires !== undefined && {
      expiresAt:
        expires === null
          ? null
          : expires instanceof Date
            ? instantOf(task, "expires", expires)
            : now + durationOf(task, "expires", expires),
    }),
    ...(headers && { headers }),
  };
}

function durationOf(task: string, option: string, value: Duration, what = "retry"): number {
  const ms = parseDuration(value);
  if (ms === undefined) throw new CallError(task, `${option} of a ${what} of ${task} is not accepted: it takes ${DURATION_ACCEPTED}`);
  return ms;
}

function instantOf(task: string, option: string, value: unknown): number {
  const at = value instanceof Date ? value.getTime() : Number.NaN;
  if (Number.isNaN(at)) throw new CallError(task, `${option} of a retry of ${task} is not a valid Date`);
  return at;
}
