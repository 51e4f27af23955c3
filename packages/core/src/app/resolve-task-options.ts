/** From what a user wrote about a task, over annotations and settings, to options with nothing left open. */
import { isPriority, PRIORITY_ACCEPTED } from "./priority.ts";
import { DURATION_ACCEPTED, type Duration, parseDuration } from "../shared/duration.ts";
import { parseRate, RATE_ACCEPTED } from "../shared/rate.ts";
import { resolveAggregate } from "./aggregate-task.ts";
import { resolveBatch } from "./batch-task.ts";
import { DEAD_LETTER_ACCEPTED, readDeadLetterPolicy } from "./dead-letter-policy.ts";
import { ENCRYPT_ACCEPTED, readEncrypt } from "./encrypted-arguments.ts";
import { readUniqueOptions, UNIQUE_ACCEPTED } from "./unique-options.ts";
import { TaskDefinitionError } from "./errors.ts";
import { LIMIT_ACCEPTED, readLimits, taskLimitName } from "./limit-options.ts";
import type { RoutingOptions } from "./routing.ts";
import { NotAccepted } from "./setting-kinds.ts";
import type { Settings } from "./settings.ts";
import { checkOptionNames, type StoredDefinition } from "./task-definition.ts";
import type {
  Backoff,
  BackoffFunction,
  Jitter,
  PoolName,
  ResolvedBackoff,
  ResolvedCurve,
  ResolvedRetry,
  ResolvedTaskOptions,
  TaskOptions,
} from "./task-options.ts";

/** Celery's `retry_backoff_max`. */
const BACKOFF_MAX_MS = 600_000;
/** Backoff where only the limit of retries is given. */
const DEFAULT_BACKOFF: Backoff = { kind: "exponential", base: "1s", max: "10m", jitter: "full" };
const BACKOFF_KINDS: ReadonlySet<string> = new Set<Backoff["kind"]>(["fixed", "linear", "exponential", "decorrelated"]);
const JITTERS: ReadonlySet<string> = new Set<Jitter>(["none", "full", "equal"]);

/** @throws TaskDefinitionError that names the task, the option and what it takes. */
export function resolveTaskOptions(definition: StoredDefinition, settings: Settings): ResolvedTaskOptions {
  const { name } = definition;
  const options = annotated(definition, settings);
  checkKinds(name, options);
  const ms = (option: keyof TaskOptions): number | undefined => durationOption(name, option, options[option]);
  const acksBoth = options.acksOnFailureOrTimeout ?? settings.taskAcksOnFailureOrTimeout;
  const timeLimitMs = ms("timeLimit");
  const softTimeLimitMs = ms("softTimeLimit");
  const aggregate = resolveAggregate(name, definition.aggregate);
  return Object.freeze({
    routing: pickRouting(name, options),
    serializer: options.serializer ?? settings.taskSerializer,
    compression: (options.compression === undefined ? settings.taskCompression : options.compression) ?? undefined,
    expiresMs: ms("expires"),
    fairKey: options.fairKey,
    encrypt: read(name, "encrypt", ENCRYPT_ACCEPTED, () => readEncrypt(options.encrypt)),
    pool: options.pool,
    timeLimitMs: timeLimitMs ?? settings.taskTimeLimitMs ?? undefined,
    softTimeLimitMs: softTimeLimitMs ?? settings.taskSoftTimeLimitMs ?? undefined,
    ownTimeLimitMs: timeLimitMs,
    ownSoftTimeLimitMs: softTimeLimitMs,
    ratePerSecond: rateOption(name, options.rateLimit ?? settings.taskDefaultRateLimit),
    limits: read(name, "limit", LIMIT_ACCEPTED, () => readLimits(options.limit ?? [], taskLimitName(name))),
    unique: read(name, "unique", UNIQUE_ACCEPTED, () => readUniqueOptions(options.unique)),
    acksLate: options.acksLate ?? settings.taskAcksLate,
    acksOnFailure: options.acksOnFailure ?? settings.taskAcksOnFailure ?? acksBoth,
    acksOnTimeout: options.acksOnTimeout ?? settings.taskAcksOnTimeout ?? acksBoth,
    rejectOnWorkerLost: options.rejectOnWorkerLost ?? settings.taskRejectOnWorkerLost,
    idempotent: options.idempotent ?? false,
    ignoreResult: options.ignoreResult ?? settings.taskIgnoreResult,
    storeErrorsEvenIfIgnored: options.storeErrorsEvenIfIgnored ?? settings.taskStoreErrorsEvenIfIgnored,
    trackStarted: options.trackStarted ?? settings.taskTrackStarted,
    storeEagerResult: options.storeEagerResult ?? settings.taskStoreEagerResult,
    resultExpiresMs: expiry(
      options.resultExpires === undefined ? settings.resultExpiresMs : options.resultExpires === null ? null : ms("resultExpires"),
    ),
    trail: options.trail ?? true,
    sendEvents: options.sendEvents ?? true,
    resultreprMaxsize: options.resultreprMaxsize ?? 1024,
    retry: resolveRetry(name, options, settings),
    deadLetter: read(name, "deadLetter", DEAD_LETTER_ACCEPTED, () =>
      options.deadLetter === undefined ? undefined : readDeadLetterPolicy(options.deadLetter),
    ),
    throws: options.throws ?? [],
    hooks: pickHooks(options),
    batch: aggregate ?? resolveBatch(name, definition.batch),
    aggregate,
  });
}

function annotated(definition: StoredDefinition, settings: Settings): TaskOptions {
  let { options } = definition;
  for (const annotate of settings.taskAnnotations ?? []) {
    const changes = annotate({ name: definition.name, options });
    if (!changes) continue;
    checkOptionNames(definition.name, changes);
    options = { ...options, ...changes };
  }
  return options;
}

/** 0 keeps for ever, like null: Celery's rule. */
function expiry(ms: number | null | undefined): number | undefined {
  return ms === null || ms === undefined || ms === 0 ? undefined : ms;
}

function resolveRetry(name: string, options: TaskOptions, settings: Settings): ResolvedRetry {
  const { retry, autoretryFor, retryKwargs } = options;
  if (retry && (autoretryFor || options.retryBackoff !== undefined)) {
    throw new TaskDefinitionError(
      name,
      `the task ${name} has both retry and ${autoretryFor ? "autoretryFor" : "retryBackoff"}: keep one of them`,
    );
  }
  // As in Celery, null in retryKwargs leaves the limit to the task.
  const limit = firstDefined(retry?.maxRetries, retryKwargs?.maxRetries ?? undefined, options.maxRetries, settings.taskDefaultMaxRetries);
  const backoff = retry ? resolveBackoff(name, retry.backoff ?? DEFAULT_BACKOFF) : celeryBackoff(name, options, settings);
  const delayMs = durationOption(name, "defaultRetryDelay", options.defaultRetryDelay) ?? settings.taskDefaultRetryDelayMs;
  // Celery's backoff is that of `autoretry_for` alone: retry() takes default_retry_delay (celery/app/task.py, `Task.retry`).
  const isBackoffOfBoth = retry !== undefined || (options.retryBackoff && !autoretryFor);
  return {
    maxRetries: limit ?? undefined,
    maxElapsedMs: durationOption(name, "retry.maxElapsed", retry?.maxElapsed),
    matches: retry ? (retry.for ?? "all") : (autoretryFor ?? "none"),
    except: [...(retry?.except ?? options.dontAutoretryFor ?? []), ...(options.throws ?? [])],
    backoff,
    byHand: isBackoffOfBoth ? backoff : { kind: "fixed", baseMs: delayMs, maxMs: delayMs, jitter: "none" },
    retryAfterMaxMs: retry && retryAfterMax(name, retry.retryAfter ?? true, backoff),
  };
}

/** Celery's `get_exponential_backoff_interval`, and a fixed delay where `retry_backoff` is not asked for (celery/app/autoretry.py). */
function celeryBackoff(name: string, options: TaskOptions, settings: Settings): ResolvedCurve {
  const { retryBackoff, retryKwargs } = options;
  if (!retryBackoff) {
    const ownMs = options.autoretryFor && durationOption(name, "retryKwargs.countdown", retryKwargs?.countdown);
    const delayMs = ownMs ?? durationOption(name, "defaultRetryDelay", options.defaultRetryDelay) ?? settings.taskDefaultRetryDelayMs;
    return { kind: "fixed", baseMs: delayMs, maxMs: delayMs, jitter: "none" };
  }
  return {
    kind: "exponential",
    baseMs: Math.trunc(Math.max(1, Number(retryBackoff))) * 1000,
    maxMs: durationOption(name, "retryBackoffMax", options.retryBackoffMax) ?? BACKOFF_MAX_MS,
    jitter: (options.retryJitter ?? true) ? "full" : "none",
  };
}

function resolveBackoff(name: string, backoff: Backoff | BackoffFunction): ResolvedBackoff {
  if (typeof backoff === "function") return { kind: "function", delay: backoff };
  if (!BACKOFF_KINDS.has(backoff.kind)) {
    const kinds = [...BACKOFF_KINDS].join(", ");
    throw new TaskDefinitionError(name, `retry.backoff.kind of the task ${name} is ${JSON.stringify(backoff.kind)}: it takes ${kinds}`);
  }
  const jitter = backoff.kind === "decorrelated" ? "full" : (backoff.jitter ?? "full");
  if (!JITTERS.has(jitter))
    throw new TaskDefinitionError(
      name,
      `retry.backoff.jitter of the task ${name} is ${JSON.stringify(jitter)}: it takes ${[...JITTERS].join(", ")}`,
    );
  if (backoff.kind === "fixed") {
    const delayMs = durationOption(name, "retry.backoff.delay", backoff.delay) ?? 1000;
    return { kind: "fixed", baseMs: delayMs, maxMs: delayMs, jitter };
  }
  const baseMs = durationOption(name, "retry.backoff.base", backoff.base) ?? 1000;
  return { kind: backoff.kind, baseMs, maxMs: durationOption(name, "retry.backoff.max", backoff.max) ?? BACKOFF_MAX_MS, jitter };
}

function retryAfterMax(name: string, option: boolean | Duration, backoff: ResolvedBackoff): number | undefined {
  if (option === false) return undefined;
  if (option !== true) return durationOption(name, "retry.retryAfter", option);
  return backoff.kind === "function" || backoff.kind === "fixed" ? BACKOFF_MAX_MS : backoff.maxMs;
}

/** @throws TaskDefinitionError that names the task and the option, where the reader says that a value is not accepted */
function read<T>(task: string, option: string, accepted: string, reader: () => T): T {
  try {
    return reader();
  } catch (error) {
    if (!(error instanceof NotAccepted)) throw error;
    throw new TaskDefinitionError(task, `${option} of the task ${task} is not accepted: ${error.detail ?? `it takes ${accepted}`}`);
  }
}

const FLAGS = [
  "acksLate", "acksOnFailure", "acksOnTimeout", "acksOnFailureOrTimeout", "rejectOnWorkerLost", "idempotent", "ignoreResult",
  "storeErrorsEvenIfIgnored", "trackStarted", "storeEagerResult", "trail", "sendEvents", "retryJitter",
] as const satisfies readonly (keyof TaskOptions)[]; // prettier-ignore
const POOLS: ReadonlySet<string> = new Set<PoolName>(["async", "threads", "processes"]);

/** What the compiler has not seen: JavaScript, and annotations from a file. `acksLate: "false"` would be true. */
function checkKinds(task: string, options: TaskOptions): void {
  const refuse = (option: keyof TaskOptions, accepted: string): never => {
    throw new TaskDefinitionError(task, `${option} of the task ${task} is ${JSON.stringify(options[option])}: it takes ${accepted}`);
  };
  for (const flag of FLAGS) if (options[flag] !== undefined && typeof options[flag] !== "boolean") refuse(flag, "true or false");
  if (options.pool !== undefined && !POOLS.has(options.pool)) refuse("pool", [...POOLS].join(", "));
  for (const limit of [options.maxRetries, options.retry?.maxRetries])
    if (limit !== undefined && limit !== null && !(Number.isSafeInteger(limit) && limit >= 0))
      throw new TaskDefinitionError(
        task,
        `maxRetries of the task ${task} is ${String(limit)}: it takes a whole number from 0, or null for ever`,
      );
}

function pickRouting(name: string, options: TaskOptions): RoutingOptions {
  const { queue, exchange, exchangeType, routingKey, priority, deliveryMode, serializer, compression } = options;
  if (priority !== undefined && !isPriority(priority))
    throw new TaskDefinitionError(name, `priority of the task ${name} is ${String(priority)}: it takes ${PRIORITY_ACCEPTED}`);
  return { queue, exchange, exchangeType, routingKey, priority, deliveryMode, serializer, compression };
}

function pickHooks(options: TaskOptions): ResolvedTaskOptions["hooks"] {
  const { beforeStart, onSuccess, onFailure, onRetry, afterReturn } = options;
  return {
    ...(beforeStart && { beforeStart }),
    ...(onSuccess && { onSuccess }),
    ...(onFailure && { onFailure }),
    ...(onRetry && { onRetry }),
    ...(afterReturn && { afterReturn }),
  };
}

function durationOption(task: string, option: string, value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  const ms = parseDuration(value);
  if (ms === undefined)
    throw new TaskDefinitionError(task, `${option} of the task ${task} is ${JSON.stringify(value)}: it takes ${DURATION_ACCEPTED}`);
  return ms;
}

function rateOption(task: string, rate: string | number | null): number | undefined {
  if (rate === null) return undefined;
  const perSecond = parseRate(rate);
  if (perSecond === undefined)
    throw new TaskDefinitionError(task, `rateLimit of the task ${task} is ${JSON.stringify(rate)}: it takes ${RATE_ACCEPTED}`);
  return perSecond || undefined;
}

function firstDefined<T>(...values: readonly (T | undefined)[]): T | undefined {
  return values.find((value) => value !== undefined);
}
