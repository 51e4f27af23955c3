/** Kinds of values that only one or two settings have. */
import { parseRate, RATE_ACCEPTED } from "../shared/rate.ts";
import { readAnnotations, type Annotation, type AnnotationsInput } from "./annotations.ts";
import { DEAD_LETTER_ACCEPTED, type DeadLetterInput, type DeadLetterPolicy, readDeadLetterPolicy } from "./dead-letter-policy.ts";
import type { KeyRing } from "./encryption.ts";
import { type CapsuleDeclaration, CAPSULES_ACCEPTED, type CapsulesInput, readCapsules } from "./capsules.ts";
import { type LimitInput, queueLimitName, readLimits, type TaskLimit } from "./limit-options.ts";
import { QUEUE_ORDER_ACCEPTED, type QueueOrderInput, readQueueOrder, type ResolvedQueueOrder } from "./queue-order.ts";
import { readQueues, type QueueDeclaration, type QueuesInput } from "./queues.ts";
import { readRoutes, type Router, type RoutesInput } from "./routes.ts";
import { custom, isPlain, NotAccepted, oneOf, type Plain } from "./setting-kinds.ts";
import type { DeliveryMode } from "./task-options.ts";

/** Whether they are keys is seen when they are used: an error must not hold one. */
export const keyRing = custom<KeyRing, KeyRing>("an object of names and keys in base64", (value) => {
  if (!isPlain(value) || !Object.values(value).every((key) => typeof key === "string")) throw new NotAccepted();
  return Object.freeze({ ...value }) as KeyRing; // texts, as just seen
});

export const annotations = custom<AnnotationsInput, readonly Annotation[]>(
  "an object of task names (or globs) and options, a function, or a list of both",
  readAnnotations,
);

export const queues = custom<QueuesInput, readonly QueueDeclaration[]>(
  "a list of queues (names, objects or Queue), or an object of names and options",
  readQueues,
);

export const routes = custom<RoutesInput, readonly Router[]>(
  "an object of task names (or globs) and routes, a function, or a list of those",
  readRoutes,
);

export const deadLetter = custom<DeadLetterInput, DeadLetterPolicy>(DEAD_LETTER_ACCEPTED, readDeadLetterPolicy);

export const capsules = custom<CapsulesInput, readonly CapsuleDeclaration[]>(CAPSULES_ACCEPTED, readCapsules);

export const queueOrder = custom<QueueOrderInput, ResolvedQueueOrder>(QUEUE_ORDER_ACCEPTED, readQueueOrder);

export const deadLettersByQueue = custom<Readonly<Record<string, DeadLetterInput>>, ReadonlyMap<string, DeadLetterPolicy>>(
  `an object of queue names, with ${DEAD_LETTER_ACCEPTED} for each`,
  (value) => {
    if (!isPlain(value)) throw new NotAccepted();
    return new Map(Object.entries(value).map(([queue, policy]) => [queue, policyOfQueue(queue, policy)]));
  },
);

function policyOfQueue(queue: string, value: unknown): DeadLetterPolicy {
  try {
    return readDeadLetterPolicy(value);
  } catch (error) {
    if (!(error instanceof NotAccepted)) throw error;
    throw new NotAccepted(`that of the queue "${queue}": ${error.detail ?? `it takes ${DEAD_LETTER_ACCEPTED}`}`);
  }
}

export const limitsByQueue = custom<Readonly<Record<string, LimitInput>>, ReadonlyMap<string, TaskLimit>>(
  "an object of queue names, with an object of `rate`, `burst`, `concurrency`, `name` and `key` for each",
  (value) => {
    if (!isPlain(value)) throw new NotAccepted();
    return new Map(Object.entries(value).map(([queue, limit]) => [queue, limitOfQueue(queue, limit)]));
  },
);

function limitOfQueue(queue: string, value: unknown): TaskLimit {
  try {
    const [limit] = readLimits([value], queueLimitName(queue));
    if (typeof limit?.key === "function")
      throw new NotAccepted("`key` is true or the name of a header: arguments differ from task to task");
    return limit as TaskLimit; // one in, one out
  } catch (error) {
    if (!(error instanceof NotAccepted)) throw error;
    throw new NotAccepted(`that of the queue "${queue}": ${error.detail ?? "it takes an object"}`);
  }
}

export const timeZone = custom<string, string>('an IANA name such as "Europe/London"', (value) => {
  if (typeof value !== "string" || !isTimeZone(value)) throw new NotAccepted();
  return value;
});

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

export const protocolVersion = custom<1 | 2, 2>("2 (version 1 is read, never written)", (value) => {
  if (value === 2) return value;
  throw new NotAccepted();
});

export const deliveryMode = custom<DeliveryMode, 1 | 2>('"persistent" (2) or "transient" (1)', (value) => {
  if (value === 2 || value === "persistent") return 2;
  if (value === 1 || value === "transient") return 1;
  throw new NotAccepted();
});

export const exchangeType = oneOf("direct", "topic", "fanout");
export const rate = custom<string | number, string | number>(RATE_ACCEPTED, (value) => {
  if ((typeof value === "number" || typeof value === "string") && parseRate(value) !== undefined) return value;
  throw new NotAccepted();
});

export interface PublishRetryPolicy {
  /** Retries after the first try; null until `publishTimeout`. Default 3. */
  readonly maxRetries?: number | null;
  /** Seconds before the first retry. Default 0. */
  readonly intervalStart?: number;
  /** Seconds added for each further one. Default 0.2. */
  readonly intervalStep?: number;
  /** Seconds at most between two. Default 1. */
  readonly intervalMax?: number;
}

export interface ResolvedPublishRetryPolicy {
  readonly maxRetries: number | null;
  readonly intervalStartMs: number;
  readonly intervalStepMs: number;
  readonly intervalMaxMs: number;
}

/** `retry_errors` is Celery's list of Python exceptions: which errors are worth a retry is decided here. */
const POLICY_KEYS: ReadonlySet<string> = new Set([
  "maxRetries", "intervalStart", "intervalStep", "intervalMax", "max_retries", "interval_start", "interval_step", "interval_max", "retry_errors", "retryErrors",
]); // prettier-ignore

/** Also reads the `retryPolicy` of a single call. @throws NotAccepted */
export function readPublishRetryPolicy(value: unknown): ResolvedPublishRetryPolicy {
  if (!isPlain(value)) throw new NotAccepted();
  for (const key of Object.keys(value)) {
    if (!POLICY_KEYS.has(key))
      throw new NotAccepted(`it has an unknown key "${key}"; known are maxRetries, intervalStart, intervalStep and intervalMax`);
  }
  const read = (camel: string, snake: string, initial: number): number => {
    const part = value[camel] ?? value[snake] ?? initial;
    if (typeof part !== "number" || !(part >= 0)) throw new NotAccepted(`${camel} is not a number from 0`);
    return part;
  };
  const isForever = value["maxRetries"] === null || value["max_retries"] === null;
  return {
    maxRetries: isForever ? null : read("maxRetries", "max_retries", 3),
    intervalStartMs: read("intervalStart", "interval_start", 0) * 1000,
    intervalStepMs: read("intervalStep", "interval_step", 0.2) * 1000,
    intervalMaxMs: read("intervalMax", "interval_max", 1) * 1000,
  };
}

export const publishRetryPolicy = custom<PublishRetryPolicy | Plain, ResolvedPublishRetryPolicy>(
  "an object with maxRetries, intervalStart, intervalStep and intervalMax",
  readPublishRetryPolicy,
);

export interface TlsSettings {
  /** Certificates and keys are files, or texts in PEM format. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly servername?: string;
  /** Default true: the server's certificate is checked. */
  readonly rejectUnauthorized?: boolean;
  /** Default true: the certificate must name the host. */
  readonly checkHostname?: boolean;
}

const TLS_NAMES: Readonly<Record<string, keyof TlsSettings>> = {
  ca: "ca",
  ssl_ca_certs: "ca",
  cert: "cert",
  ssl_certfile: "cert",
  key: "key",
  ssl_keyfile: "key",
  servername: "servername",
  server_hostname: "servername",
  rejectUnauthorized: "rejectUnauthorized",
  checkHostname: "checkHostname",
  ssl_check_hostname: "checkHostname",
};

/** false is null; true is TLS with the system's certificates. Python's spelling (`ssl_cert_reqs`, ...) is understood. */
function readTls(value: unknown): TlsSettings | null {
  if (value === false || value === null) return null;
  if (value === true) return {};
  if (!isPlain(value)) throw new NotAccepted();
  const tls: Record<string, unknown> = {};
  for (const [name, part] of Object.entries(value)) {
    if (name === "ssl_cert_reqs") {
      tls["rejectUnauthorized"] = !(part === 0 || /none$/i.test(String(part)));
      continue;
    }
    const known = Object.hasOwn(TLS_NAMES, name) ? TLS_NAMES[name] : undefined;
    if (known === undefined) throw new NotAccepted(`it has an unknown key "${name}"`);
    const wants = known === "rejectUnauthorized" || known === "checkHostname" ? "boolean" : "string";
    if (typeof part !== wants) throw new NotAccepted(`"${name}" is not a ${wants}`);
    tls[known] = part;
  }
  return tls;
}

export const tls = custom<boolean | TlsSettings | Plain | null, TlsSettings | null>("true, false, or an object of TLS options", readTls);

/** Transport options under kombu's own names (snake_case), whichever way they were written. */
export const transportOptions = custom<Plain, Plain>("an object (in the environment as JSON)", (value) => {
  if (!isPlain(value)) throw new NotAccepted();
  const options = Object.fromEntries(
    Object.entries(value).map(([key, part]) => [key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), part]),
  );
  const visibility = options["visibility_timeout"];
  if (visibility !== undefined && (!Number.isSafeInteger(visibility) || (visibility as number) <= 0)) {
    throw new NotAccepted("visibility_timeout is a whole number of seconds above 0");
  }
  return Object.freeze(options);
});
