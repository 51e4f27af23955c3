/** Options of one call (`applyAsync`, `sendTask`): Celery's names in camelCase, Celery's units. */
import { isPriority, PRIORITY_ACCEPTED } from "./priority.ts";
import { DURATION_ACCEPTED, type Duration, parseDuration } from "../shared/duration.ts";
import { didYouMean } from "../shared/suggest.ts";
import { CallError } from "./errors.ts";
import type { FairKeyInput } from "./fair-key.ts";
import type { EncryptInput } from "./encrypted-arguments.ts";
import type { Queue } from "./queues.ts";
import { NotAccepted } from "./setting-kinds.ts";
import type { UniqueInput } from "./unique-options.ts";
import type { PublishRetryPolicy } from "./setting-values.ts";
import type { DeliveryMode, ExchangeType } from "./task-options.ts";
import type { SignatureData } from "../protocol/signature.ts";

export type Kwargs = Readonly<Record<string, unknown>>;

/** A signature, or one as plain data. */
export type Link = SignatureData | { toJSON(): SignatureData };

export interface CallOptions {
  /** Not before this much time has passed. */
  readonly countdown?: Duration;
  /** Not before this time. */
  readonly eta?: Date;
  /** Not run any more after this. */
  readonly expires?: Duration | Date;
  readonly queue?: string | Queue;
  readonly exchange?: string;
  readonly exchangeType?: ExchangeType;
  readonly routingKey?: string;
  /** From 0, which is served first, to 9. */
  readonly priority?: number;
  /** Under which it shares its queue with others, where the queue is `fair`: a tenant's id, say. Default: what the task says. */
  readonly fairKey?: FairKeyInput;
  readonly serializer?: string;
  readonly compression?: string | null;
  readonly headers?: Readonly<Record<string, unknown>>;
  /** Under limits that count keys apart it counts as this one. Travels as the header `limit_key`. */
  readonly limitKey?: string | number;
  /** In place of what the task says; false: not unique. For tasks that are defined elsewhere too. */
  readonly unique?: UniqueInput;
  /** Arguments that travel encrypted, as in a task's options. Default: what the task says; for tasks that are defined elsewhere. */
  readonly encrypt?: EncryptInput;
  /** Default: a fresh UUID. */
  readonly taskId?: string;
  /** Another name for logs and monitors. */
  readonly shadow?: string;
  readonly ignoreResult?: boolean;
  readonly timeLimit?: Duration;
  readonly softTimeLimit?: Duration;
  /** false: one try. Default: the setting `taskPublishRetry`. */
  readonly retry?: boolean;
  readonly retryPolicy?: PublishRetryPolicy;
  readonly deliveryMode?: DeliveryMode;
  /** Signatures of tasks to call with the result, or when it failed. */
  readonly link?: Link | readonly Link[];
  readonly linkError?: Link | readonly Link[];
  /** Inside a task: record the call among its children. Default true. */
  readonly addToParent?: boolean;
  readonly replyTo?: string;
  readonly argsrepr?: string;
  readonly kwargsrepr?: string;
  readonly stampedHeaders?: readonly string[];
  readonly stamps?: Readonly<Record<string, unknown>>;
  readonly rootId?: string;
  readonly parentId?: string;
  readonly groupId?: string;
  readonly groupIndex?: number;
  readonly chord?: SignatureData;
  /** The remaining steps, in reverse order as on the wire. */
  readonly chain?: readonly SignatureData[];
  readonly replacedTaskNesting?: number;
  readonly periodicTaskName?: string;
}

/** One call as data: made by `task.call(...)`, sent by `app.publishMany([...])`. */
export interface TaskCall<Result = unknown> {
  readonly name: string;
  readonly args: readonly unknown[];
  readonly kwargs?: Kwargs;
  readonly options?: CallOptions;
  /** Only for types: what the task returns. */
  readonly returns?: Result;
}

const CALL_OPTIONS: ReadonlySet<string> = new Set<keyof CallOptions>([
  "countdown", "eta", "expires", "queue", "exchange", "exchangeType", "routingKey", "priority", "fairKey", "serializer", "compression", "headers", "limitKey", "unique", "encrypt",
  "taskId", "shadow", "ignoreResult", "timeLimit", "softTimeLimit", "retry", "retryPolicy", "deliveryMode", "link", "linkError",
  "addToParent", "replyTo", "argsrepr", "kwargsrepr", "stampedHeaders", "stamps", "rootId", "parentId", "groupId", "groupIndex",
  "chord", "chain", "replacedTaskNesting", "periodicTaskName",
]); // prettier-ignore

/** @throws CallError for a name that is no option, such as one in Celery's spelling. */
export function checkCallOptions(task: string, options: CallOptions): void {
  for (const name in options) {
    if (!CALL_OPTIONS.has(name))
      throw new CallError(task, `"${name}" is not an option of a call of ${task}.${didYouMean(name, CALL_OPTIONS)}`);
  }
  checkPriority(task, "call", options.priority);
}

/** @throws CallError. undefined: none was given. */
export function checkPriority(task: string, what: "call" | "retry", priority: number | undefined): void {
  if (priority === undefined || isPriority(priority)) return;
  throw new CallError(task, `priority of a ${what} of ${task} is ${String(priority)}: it takes ${PRIORITY_ACCEPTED}`);
}

/** ms. @throws CallError */
export function callDuration(task: string, option: string, value: unknown): number {
  const ms = parseDuration(value);
  if (ms === undefined)
    throw new CallError(task, `${option} of a call of ${task} is ${JSON.stringify(value)}: it takes ${DURATION_ACCEPTED}`);
  return ms;
}

/** ms since the epoch. @throws CallError */
export function callInstant(task: string, option: string, value: unknown): number {
  const at = value instanceof Date ? value.getTime() : Number.NaN;
  if (Number.isNaN(at)) throw new CallError(task, `${option} of a call of ${task} is not a valid Date`);
  return at;
}

/** @throws CallError */
export function callLimitKey(task: string, value: unknown): string | number {
  if ((typeof value === "string" && value !== "") || Number.isFinite(value)) return value as string | number;
  throw new CallError(task, `limitKey of a call of ${task} is not accepted: it takes a text or a number`);
}

/** @throws CallError that names the option, where the reader says that its value is not accepted */
export function readCallOption<T>(task: string, option: string, accepted: string, reader: () => T): T {
  try {
    return reader();
  } catch (error) {
    if (!(error instanceof NotAccepted)) throw error;
    throw new CallError(task, `${option} of a call of ${task} is not accepted: ${error.detail ?? `it takes ${accepted}`}`);
  }
}
