/** Writes calls as messages: where to, in which form, with which headers. What is the same for all calls of a task is worked out once. */
import { hostname } from "node:os";
import { encodeTaskMessage, type OutgoingTask } from "../protocol/task-message.ts";
import { UNIQUE_HEADER, uniqueText } from "../protocol/unique.ts";
import type { Clock } from "../shared/clock.ts";
import { newId } from "../shared/ids.ts";
import type { Lovage } from "./app.ts";
import { callDuration, callInstant, callLimitKey, type CallOptions, type Kwargs, readCallOption } from "./call-options.ts";
import { ENCRYPT_ACCEPTED, readEncrypt, sealArguments } from "./encrypted-arguments.ts";
import { CallError, PayloadTooLargeError } from "./errors.ts";
import { withFairKey } from "./fair-key.ts";
import { LIMIT_KEY_HEADER } from "./limit-options.ts";
import type { Sending } from "./producer.ts";
import { RoutingTable, type Destination } from "./routing.ts";
import type { Task } from "./task.ts";
import type { ResolvedTaskOptions } from "./task-options.ts";
import { readUniqueOptions, UNIQUE_ACCEPTED, uniqueRule } from "./unique-options.ts";
import { embedOf } from "./wire-options.ts";

/** What is the same for every call of a task, worked out once. */
export interface Prepared {
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

const NO_KWARGS: Kwargs = Object.freeze({});
const NO_OPTIONS: CallOptions = Object.freeze({});

export class CallEncoder {
  readonly #app: Lovage;
  readonly #clock: Clock;
  readonly #prepared = new Map<string, Prepared>();
  readonly #origin = `gen${process.pid}@${hostname()}`;
  /** Celery's oid: replies to this client go there. */
  readonly replyTo = newId();
  #routing: RoutingTable | undefined;
  #maxBytes: number | undefined;

  constructor(app: Lovage, clock: Clock) {
    this.#app = app;
    this.#clock = clock;
  }

  /** Made on first use, because it reads the settings. */
  get routing(): RoutingTable {
    return (this.#routing ??= new RoutingTable(this.#app.settings));
  }

  prepare(name: string): Prepared {
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

  /** @param mayBeUnique false: what is part of a workflow gives way to no task outside. @throws CallError, PayloadTooLargeError, ProtocolError */
  encode(
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
    const encrypt =
      options?.encrypt === undefined
        ? prepared.options?.encrypt
        : readCallOption(name, "encrypt", ENCRYPT_ACCEPTED, () => readEncrypt(options.encrypt));
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
    const unique = !mayBeUnique
      ? undefined
      : options?.unique === undefined
        ? prepared.options?.unique
        : readCallOption(name, "unique", UNIQUE_ACCEPTED, () => readUniqueOptions(options.unique));
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
