/** Turns calls of tasks into messages, hands them to the producer, and makes the results that callers hold. */
import { hostname } from "node:os";
import { begunOf, type ResultTuple } from "../canvas/result-tuple.ts";
import { type PlannedCall, unroll } from "../canvas/unroll.ts";
import { UNIQUE_HEADER, uniqueText } from "../protocol/unique.ts";
import { encodeTaskMessage, type OutgoingTask } from "../protocol/task-message.ts";
import type { SignatureData } from "../protocol/signature.ts";
import type { Clock } from "../shared/clock.ts";
import { newId } from "../shared/ids.ts";
import type { Lovage } from "./app.ts";
import { AsyncResult } from "./async-result.ts";
import { callDuration, callInstant, callLimitKey, checkCallOptions, type CallOptions, type Kwargs, type TaskCall } from "./call-options.ts";
import { EagerResult } from "./eager.ts";
import { EagerWorkflow } from "./eager-workflow.ts";
import { ENCRYPT_ACCEPTED, type EncryptedPath, readEncrypt, sealArguments } from "./encrypted-arguments.ts";
import { LIMIT_KEY_HEADER } from "./limit-options.ts";
import { CallError, PayloadTooLargeError } from "./errors.ts";
import { withFairKey } from "./fair-key.ts";
import { type AnyResult, resultOf } from "./group-result.ts";
import { currentTask } from "./process-wide.ts";
import type { Producer, Sending } from "./producer.ts";
import { RoutingTable, type Destination } from "./routing.ts";
import type { RunningTask } from "./running-task.ts";
import { NotAccepted } from "./setting-kinds.ts";
import { readPublishRetryPolicy, type ResolvedPublishRetryPolicy } from "./setting-values.ts";
import type { RemoteTask, Task } from "./task.ts";
import type { TaskContext } from "./task-context.ts";
import type { ResolvedTaskOptions } from "./task-options.ts";
import { readUniqueOptions, type ResolvedUnique, UNIQUE_ACCEPTED, uniqueRule } from "./unique-options.ts";
import { embedOf, toCallOptions } from "./wire-options.ts";

type Handle = Pick<RemoteTask, "name" | "defaults">;

/** What is the same for every call of a task, worked out once. */
interface Prepared {
  readonly options: ResolvedTaskOptions | undefined;
  /** Undefined while a router function wants to see the arguments. */
  readonly destination: Destination | undefined;
  readonly codec: Codec;
  readonly ignoreResult: boolean | null;
  readonly ownTask: Task | undefined;
}

interface Codec {
  readonly serializer: string;
  readonly compression: string | undefined;
}

/** What a task hands down to those that follow it. */
export interface CallParent {
  readonly id: string;
  readonly rootId: string;
  readonly delivery: { readonly priority: number };
}

/** Messages of a workflow that are written together, and such portions that are on their way beside the newest. */
const PLANNED_AT_ONCE = 500;
const PLANNED_BATCHES = 3;

const NO_KWARGS: Kwargs = Object.freeze({});
const NO_OPTIONS: CallOptions = Object.freeze({});

export class Calls {
  readonly #app: Lovage;
  readonly #clock: Clock;
  readonly #producer: () => Producer;
  readonly #prepared = new Map<string, Prepared>();
  readonly #origin = `gen${process.pid}@${hostname()}`;
  /** Celery's oid: replies to this client go there. */
  readonly replyTo = newId();
  #routing: RoutingTable | undefined;
  #maxBytes: number | undefined;

  constructor(app: Lovage, clock: Clock, producer: () => Producer) {
    this.#app = app;
    this.#clock = clock;
    this.#producer = producer;
  }

  /** Made on first use, because it reads the settings. */
  get routing(): RoutingTable {
    return (this.#routing ??= new RoutingTable(this.#app.settings));
  }

  async send<Result>(
    handle: Handle,
    args: readonly unknown[],
    kwargs: Kwargs | undefined,
    options: CallOptions | undefined,
  ): Promise<AsyncResult<Result>> {
    const prepared = this.#prepare(handle.name);
    const all = handle.defaults === NO_OPTIONS || isEmpty(handle.defaults) ? options : { ...handle.defaults, ...options };
    if (all !== undefined) checkCallOptions(handle.name, all);
    if (this.#app.settings.taskAlwaysEager && prepared.ownTask)
      return this.runEagerly(prepared.ownTask, args, kwargs ?? NO_KWARGS, all ?? NO_OPTIONS, true);
    const running = currentTask();
    const sending = this.#encode(handle.name, prepared, args, kwargs ?? NO_KWARGS, all, running);
    const { awaitedSends } = this.#app.results;
    awaitedSends.sending(sending.taskId);
    try {
      await this.#producer().send(sending, all === undefined ? undefined : this.#retryPolicy(handle.name, all));
    } catch (error) {
      awaitedSends.failed(sending.taskId);
      throw error;
    }
    if (sending.heldBy === undefined) awaitedSends.sent(sending.taskId);
    else awaitedSends.failed(sending.taskId);
    if (running) recordChild(running, prepared, sending.heldBy ?? sending.taskId, all);
    return this.#resultOf<Result>(sending);
  }

  async sendMany<Result>(calls: readonly TaskCall<Result>[]): Promise<AsyncResult<Result>[]> {
    if (this.#app.settings.taskAlwaysEager) {
      return Promise.all(
        calls.map((call) => this.send<Result>({ name: call.name, defaults: NO_OPTIONS }, call.args, call.kwargs, call.options)),
      );
    }
    const running = currentTask();
    const sendings = calls.map((call) => {
      if (call.options) checkCallOptions(call.name, call.options);
      return this.#encode(call.name, this.#prepare(call.name), call.args, call.kwargs ?? NO_KWARGS, call.options, running);
    });
    await this.#producer().sendMany(sendings);
    if (running)
      for (const [index, sending] of sendings.entries())
        recordChild(running, this.#prepare(sending.task), sending.heldBy ?? sending.taskId, calls[index]?.options);
    return sendings.map((sending) => this.#resultOf<Result>(sending));
  }

  #resultOf<Result>({ taskId, heldBy }: Sending): AsyncResult<Result> {
    if (heldBy === undefined) return new AsyncResult<Result>(this.#app, taskId);
    return new AsyncResult<Result>(this.#app, heldBy, undefined, undefined, true);
  }

  /** A call checked, routed and written as its message, and not sent: for those who send it later, such as an outbox. */
  prepare(call: TaskCall): Sending {
    if (call.options) checkCallOptions(call.name, call.options);
    return this.#encode(call.name, this.#prepare(call.name), call.args, call.kwargs ?? NO_KWARGS, call.options, currentTask());
  }

  /** Sends what `prepare` made. @throws PublishFailedError, PublishTimeoutError, AppClosedError */
  publish(sendings: readonly Sending[]): Promise<void> {
    return this.#producer().sendMany(sendings);
  }

  /** Sends all that begins a workflow. Answers with the result tuple of the whole. */
  async sendSignature(
    signature: SignatureData,
    args: readonly unknown[],
    kwargs: Kwargs,
    options: Readonly<Record<string, unknown>>,
    addToParent = true,
  ): Promise<ResultTuple> {
    if (this.#app.settings.taskAlwaysEager) return (await this.runSignatureEagerly(signature, args, kwargs, options, true)).tuple;
    const plan = unroll(signature, { args, kwargs, options, replyTo: this.replyTo });
    const running = currentTask();
    const first = this.planned(plan.calls.slice(0, PLANNED_AT_ONCE), running); // what cannot be written leaves nothing behind
    await this.#app.results.beginGroups(plan);
    await this.#sendPlanned(plan.calls, first, running);
    if (running && addToParent && "addChild" in running) for (const child of begunOf(plan.result)) (running as RunningTask).addChild(child);
    return plan.result;
  }

  /** A few at a time, so that a long header takes neither the memory nor the `publishTimeout` of all its messages together. Stops at the first failure. */
  async #sendPlanned(calls: readonly PlannedCall[], first: readonly Sending[], parent: CallParent | undefined): Promise<void> {
    const underWay: Promise<void>[] = [];
    try {
      for (let from = 0; from < calls.length; from += PLANNED_AT_ONCE) {
        const sendings = from === 0 ? first : this.planned(calls.slice(from, from + PLANNED_AT_ONCE), parent);
        const sending = this.#producer().sendMany(sendings);
        sending.catch(() => undefined); // heard below
        underWay.push(sending);
        if (underWay.length > PLANNED_BATCHES) await underWay.shift();
      }
    } finally {
      await Promise.all(underWay);
    }
  }

  /** The messages of planned calls. `parent`: the task that they follow. */
  planned(calls: readonly PlannedCall[], parent: CallParent | undefined): readonly Sending[] {
    return calls.map(({ task, routeAs, args, kwargs, options }) => {
      const prepared = this.#prepare(routeAs);
      return this.#encode(
        task,
        task === routeAs ? prepared : { ...prepared, options: undefined },
        args,
        kwargs,
        toCallOptions(options),
        parent,
        false, // the rest of a workflow waits for its steps: none of them gives way to a task outside
      );
    });
  }

  /** @param isAlways the setting `taskAlwaysEager` asked for it, so `taskEagerPropagates` counts */
  async runEagerly<Result>(
    task: Task,
    args: readonly unknown[],
    kwargs: Kwargs,
    options: CallOptions,
    isAlways = false,
  ): Promise<EagerResult<Result>> {
    checkCallOptions(task.name, options);
    const taskId = options.taskId ?? newId();
    const workflow = new EagerWorkflow(this.#app);
    await workflow.runCall({ name: task.name, args, kwargs, options: { ...options, taskId }, parent: currentTask() });
    const result = new EagerResult<Result>(this.#app, taskId, workflow);
    if (isAlways && this.#app.settings.taskEagerPropagates) await result.get();
    return result;
  }

  /** Runs a whole workflow here and now, without a broker. `isAlways` as above. */
  async runSignatureEagerly(
    signature: SignatureData,
    args: readonly unknown[],
    kwargs: Kwargs,
    options: Readonly<Record<string, unknown>>,
    isAlways = false,
  ): Promise<{ readonly tuple: ResultTuple; readonly result: AnyResult }> {
    const plan = unroll(signature, { args, kwargs, options, replyTo: this.replyTo });
    const workflow = new EagerWorkflow(this.#app);
    await workflow.run(plan, currentTask());
    const result = resultOf(this.#app, plan.result, workflow);
    if (isAlways && this.#app.settings.taskEagerPropagates) await result.get();
    return { tuple: plan.result, result };
  }

  #prepare(name: string): Prepared {
    const known = this.#prepared.get(name);
    if (known) return known;
    const own = this.#app.tasks.get(name);
    const options = own?.options;
    const { settings } = this.#app;
    const destination = this.routing.looksAtArguments
      ? undefined
      : this.routing.route(name, options?.routing ?? NO_OPTIONS, NO_OPTIONS, [], NO_KWARGS, "");
    const prepared: Prepared = {
      options,
      destination,
      codec: destination
        ? codecOf(destination, settings)
        : { serializer: settings.taskSerializer, compression: settings.taskCompression ?? undefined },
      // null leaves it to the worker: a bool from a caller who does not know the task would override the task's own choice (celery-protocol.md 1.1)
      ignoreResult: options ? options.ignoreResult : null,
      ownTask: own as unknown as Task | undefined,
    };
    this.#prepared.set(name, prepared);
    return prepared;
  }

  #encode(
    name: string,
    prepared: Prepared,
    args: readonly unknown[],
    kwargs: Kwargs,
    options: CallOptions | undefined,
    running: CallParent | undefined,
    mayBeUnique = true,
  ): Sending {
    const id = options?.taskId ?? newId();
    const now = this.#clock.now();
    const keeps = prepared.destination !== undefined && (options === undefined || !asksForRoute(options));
    const destination = keeps
      ? prepared.destination
      : this.routing.route(name, prepared.options?.routing ?? NO_OPTIONS, options ?? NO_OPTIONS, args, kwargs, id);
    const codec = keeps ? prepared.codec : codecOf(destination, this.#app.settings);
    const encrypt = options?.encrypt === undefined ? prepared.options?.encrypt : encryptOf(name, options.encrypt);
    const written = encrypt === undefined ? undefined : sealArguments({ args, kwargs }, encrypt, () => this.#app.cipher, name);
    const task: Mutable<OutgoingTask> = {
      id,
      task: name,
      args: written?.args ?? args,
      kwargs: written?.kwargs ?? kwargs,
      origin: this.#origin,
      replyTo: this.replyTo,
      ignoreResult: prepared.ignoreResult,
      rootId: id,
    };
    if (destination.priority !== undefined) task.priority = destination.priority;
    if (destination.deliveryMode !== 2) task.deliveryMode = destination.deliveryMode;
    if (prepared.options) addTaskOptions(task, prepared.options, now);
    if (running) this.#addParent(task, running, options);
    if (options !== undefined) addCallOptions(task, options, now);
    const fairKey = options?.fairKey === undefined ? prepared.options?.fairKey : options.fairKey;
    if (fairKey !== undefined) task.headers = withFairKey(name, fairKey, args, task.headers, options?.fairKey !== undefined);
    const unique = !mayBeUnique ? undefined : options?.unique === undefined ? prepared.options?.unique : uniqueOf(name, options.unique);
    const rule =
      unique && uniqueRule(name, unique, { args, kwargs, params: prepared.ownTask?.definition.params }, (task.etaAt ?? now) - now);
    if (rule !== undefined) task.headers = { ...task.headers, [UNIQUE_HEADER]: uniqueText(rule) };
    const message = encodeTaskMessage(task, { serializer: codec.serializer, compression: codec.compression, now });
    const maxBytes = (this.#maxBytes ??= this.#app.settings.taskMaxBytes ?? Infinity);
    if (message.body.byteLength > maxBytes) throw new PayloadTooLargeError(name, message.body.byteLength, maxBytes);
    return {
      outgoing:
        rule === undefined
          ? { message, exchange: destination.exchange, routingKey: destination.routingKey }
          : { message, exchange: destination.exchange, routingKey: destination.routingKey, unique: rule },
      taskId: id,
      task: name,
      queue: destination.queue,
    };
  }

  #addParent(task: Mutable<OutgoingTask>, running: CallParent, options: CallOptions | undefined): void {
    task.parentId = running.id;
    task.rootId = running.rootId;
    if (this.#app.settings.taskInheritParentPriority && options?.priority === undefined) task.priority = running.delivery.priority;
  }

  /** undefined: the producer's own, so that the call shares a batch with others. */
  #retryPolicy(name: string, options: CallOptions): ResolvedPublishRetryPolicy | null | undefined {
    if (options.retry === false) return null;
    if (options.retryPolicy === undefined) return options.retry === true ? this.#app.settings.taskPublishRetryPolicy : undefined;
    try {
      return readPublishRetryPolicy(options.retryPolicy);
    } catch (error) {
      throw error instanceof NotAccepted
        ? new CallError(name, `retryPolicy of a call of ${name} is not accepted: ${error.detail ?? "it takes an object"}`)
        : error;
    }
  }
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

function addTaskOptions(task: Mutable<OutgoingTask>, options: ResolvedTaskOptions, now: number): void {
  if (options.expiresMs !== undefined) task.expiresAt = now + options.expiresMs;
  if (options.ownTimeLimitMs !== undefined) task.timeLimitMs = options.ownTimeLimitMs;
  if (options.ownSoftTimeLimitMs !== undefined) task.softTimeLimitMs = options.ownSoftTimeLimitMs;
}

function addCallOptions(task: Mutable<OutgoingTask>, options: CallOptions, now: number): void {
  const name = task.task;
  if (options.countdown !== undefined && options.eta !== undefined)
    throw new CallError(name, `a call of ${name} has both countdown and eta: keep one of them`);
  const delayMs = callDuration(name, "countdown", options.countdown ?? 0);
  if (delayMs > 0) task.etaAt = now + delayMs;
  if (options.eta !== undefined) task.etaAt = callInstant(name, "eta", options.eta);
  if (options.expires !== undefined)
    task.expiresAt =
      options.expires instanceof Date
        ? callInstant(name, "expires", options.expires)
        : now + callDuration(name, "expires", options.expires);
  if (options.timeLimit !== undefined) task.timeLimitMs = callDuration(name, "timeLimit", options.timeLimit);
  if (options.softTimeLimit !== undefined) task.softTimeLimitMs = callDuration(name, "softTimeLimit", options.softTimeLimit);
  if (options.headers !== undefined) task.headers = options.headers;
  if (options.limitKey !== undefined) task.headers = { ...options.headers, [LIMIT_KEY_HEADER]: callLimitKey(name, options.limitKey) };
  if (options.shadow !== undefined) task.shadow = options.shadow;
  if (options.ignoreResult !== undefined) task.ignoreResult = options.ignoreResult;
  if (options.replyTo !== undefined) task.replyTo = options.replyTo;
  if (options.argsrepr !== undefined) task.argsrepr = options.argsrepr;
  if (options.kwargsrepr !== undefined) task.kwargsrepr = options.kwargsrepr;
  if (options.stampedHeaders !== undefined) task.stampedHeaders = options.stampedHeaders;
  if (options.stamps !== undefined) task.stamps = options.stamps;
  if (options.rootId !== undefined) task.rootId = options.rootId;
  if (options.parentId !== undefined) task.parentId = options.parentId;
  if (options.groupId !== undefined) task.group = options.groupId;
  if (options.groupIndex !== undefined) task.groupIndex = options.groupIndex;
  if (options.replacedTaskNesting !== undefined) task.replacedTaskNesting = options.replacedTaskNesting;
  if (options.periodicTaskName !== undefined) task.periodicTaskName = options.periodicTaskName;
  const { link, linkError, chord, chain } = options;
  if (link || linkError || chord || chain) task.embed = embedOf(options);
}

function encryptOf(task: string, value: unknown): readonly EncryptedPath[] | undefined {
  try {
    return readEncrypt(value);
  } catch (error) {
    throw error instanceof NotAccepted
      ? new CallError(task, `encrypt of a call of ${task} is not accepted: ${error.detail ?? `it takes ${ENCRYPT_ACCEPTED}`}`)
      : error;
  }
}

function uniqueOf(task: string, value: unknown): ResolvedUnique | undefined {
  try {
    return readUniqueOptions(value);
  } catch (error) {
    throw error instanceof NotAccepted
      ? new CallError(task, `unique of a call of ${task} is not accepted: ${error.detail ?? `it takes ${UNIQUE_ACCEPTED}`}`)
      : error;
  }
}

function asksForRoute(options: CallOptions): boolean {
  return (
    options.queue !== undefined ||
    options.exchange !== undefined ||
    options.exchangeType !== undefined ||
    options.routingKey !== undefined ||
    options.priority !== undefined ||
    options.deliveryMode !== undefined ||
    options.serializer !== undefined ||
    options.compression !== undefined
  );
}

function codecOf(destination: Destination, settings: Lovage["settings"]): Codec {
  const { serializer = settings.taskSerializer, compression = settings.taskCompression } = destination;
  return { serializer, compression: compression ?? undefined };
}

function recordChild(running: TaskContext, prepared: Prepared, id: string, options: CallOptions | undefined): void {
  if ((options?.addToParent ?? true) && prepared.options?.trail !== false && "addChild" in running) {
    const child: ResultTuple = [[id, null], null];
    (running as RunningTask).addChild(child);
  }
}

function isEmpty(options: object): boolean {
  for (const key in options) if (key) return false;
  return true;
}
