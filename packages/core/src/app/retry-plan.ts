/**
 * Whether and when a task runs again. Pure: options, facts and numbers in, a delay out.
 *
 * What a policy must remember from one attempt to the next travels in headers of the message, which Python copies when
 * it retries: when the first attempt began, for `maxElapsed`, and the last delay, for decorrelated backoff.
 */
import type { Random } from "../shared/clock.ts";
import { DURATION_ACCEPTED, parseDuration } from "../shared/duration.ts";
import { retryAfterMs } from "./retry-after.ts";
import type { ErrorMatcher, ResolvedBackoff, ResolvedCurve, ResolvedRetry } from "./task-options.ts";
import { NonRetryableError, type RetryPlan } from "./task-signals.ts";

/** Milliseconds since 1970. */
const FIRST_ATTEMPT_HEADER = "lovage_first_attempt_at";
const LAST_DELAY_HEADER = "lovage_retry_delay_ms";

/** The attempt that ended. Instants are ms since 1970. */
export interface AttemptFacts {
  /** Attempts made before it. */
  readonly retries: number;
  /** Of its message. */
  readonly headers: Readonly<Record<string, unknown>>;
  readonly startedAt: number;
  readonly now: number;
}

/** What `ctx.retry()` said; all of it undefined where the options ask for the retry. */
export interface RetryAsk {
  readonly error: unknown;
  readonly isByHand?: boolean;
  /** Wins over every backoff. */
  readonly delayMs?: number | undefined;
  /** Wins over the task's limit; null retries for ever. */
  readonly maxRetries?: number | null | undefined;
}

/** The retry to make, or undefined when none is left: attempts, time, or a backoff function that said null. */
export function decideRetry(
  ask: RetryAsk,
  facts: AttemptFacts,
  retry: ResolvedRetry,
  random: Random,
): Omit<RetryPlan, "etaAt"> | undefined {
  const limit = ask.maxRetries === undefined ? retry.maxRetries : (ask.maxRetries ?? undefined);
  if (!hasRetryLeft(facts.retries, limit)) return undefined;
  const backoff = ask.isByHand ? retry.byHand : retry.backoff;
  const delayMs = ask.delayMs ?? policyDelayMs(ask.error, facts, backoff, retry.retryAfterMaxMs, random);
  if (delayMs === undefined) return undefined;
  const firstAt = firstAttemptAt(facts);
  if (retry.maxElapsedMs !== undefined && facts.now + delayMs - firstAt > retry.maxElapsedMs) return undefined;
  const headers = {
    ...(retry.maxElapsedMs !== undefined && { [FIRST_ATTEMPT_HEADER]: Math.round(firstAt) }),
    ...(backoff.kind === "decorrelated" && ask.delayMs === undefined && { [LAST_DELAY_HEADER]: Math.round(delayMs) }),
  };
  return {
    delayMs,
    retries: facts.retries + 1,
    error: ask.error,
    changes: Object.keys(headers).length > 0 ? { headers } : {},
    ...(ask.delayMs === undefined && isSteady(backoff) && { isSteady: true }),
  };
}

/** For an error that a task ended with: undefined when its options do not retry it. @throws what the user's own functions throw */
export function decideAutomaticRetry(
  error: unknown,
  facts: AttemptFacts,
  retry: ResolvedRetry,
  random: Random,
): Omit<RetryPlan, "etaAt"> | undefined {
  return retriesByItself(error, retry) ? decideRetry({ error }, facts, retry, random) : undefined;
}

/** Whether the task's options ask for this error to be retried without the task saying so. The limit is not looked at. */
export function retriesByItself(error: unknown, retry: ResolvedRetry): boolean {
  if (retry.matches === "none" || isFinal(error)) return false;
  if (retry.except.some((matcher) => matchesError(error, matcher))) return false;
  return retry.matches === "all" || retry.matches.some((matcher) => matchesError(error, matcher));
}

/** `retries`: attempts made before the one that just ended. */
export function hasRetryLeft(retries: number, maxRetries: number | undefined): boolean {
  return maxRetries === undefined || retries < maxRetries;
}

/** By the backoff, and not sooner than the other side's `Retry-After` asks for, as far as it is heeded. */
function policyDelayMs(
  error: unknown,
  facts: AttemptFacts,
  backoff: ResolvedBackoff,
  retryAfterMaxMs: number | undefined,
  random: Random,
): number | undefined {
  const delayMs =
    backoff.kind === "function"
      ? functionDelayMs(backoff.delay(error, facts.retries + 1))
      : backoffDelayMs(backoff, facts.retries, random, lastDelayMs(facts, backoff));
  if (delayMs === undefined || retryAfterMaxMs === undefined) return delayMs;
  const askedMs = retryAfterMs(error, facts.now);
  return askedMs === undefined ? delayMs : Math.max(delayMs, Math.min(askedMs, retryAfterMaxMs));
}

function functionDelayMs(answer: unknown): number | undefined {
  if (answer === null) return undefined;
  const ms = parseDuration(answer);
  if (ms === undefined)
    throw new TypeError(`the backoff function answered ${JSON.stringify(answer)}: it may answer null, or ${DURATION_ACCEPTED}`);
  return ms;
}

/** Delay before retry number `retries` + 1. `lastMs`: the delay before this attempt, for decorrelated backoff; default its base. */
export function backoffDelayMs(backoff: ResolvedCurve, retries: number, random: Random, lastMs = backoff.baseMs): number {
  const [from, to] = backoffRangeMs(backoff, retries, lastMs);
  return Math.min(to, from + Math.floor(random() * (to - from + 1)));
}

/** The shortest and the longest delay before retry number `retries` + 1. */
export function backoffRangeMs(backoff: ResolvedCurve, retries: number, lastMs = backoff.baseMs): readonly [fromMs: number, toMs: number] {
  if (backoff.kind === "decorrelated") {
    const from = Math.min(backoff.baseMs, backoff.maxMs);
    return [from, Math.max(from, Math.min(lastMs * 3, backoff.maxMs))];
  }
  const capped = Math.min(grownMs(backoff, retries), backoff.maxMs);
  if (backoff.jitter === "full") return [0, capped];
  return backoff.jitter === "equal" ? [capped / 2, capped] : [capped, capped];
}

function grownMs({ kind, baseMs }: ResolvedCurve, retries: number): number {
  if (kind === "linear") return baseMs * (retries + 1);
  return kind === "exponential" ? baseMs * 2 ** Math.min(retries, 1000) : baseMs; // 0 times Infinity would be no number
}

/** Tasks that fail together come back together. */
function isSteady(backoff: ResolvedBackoff): boolean {
  return backoff.kind === "fixed" && backoff.jitter === "none" && backoff.baseMs > 0;
}

/** A header that nobody of ours wrote, or one from a clock that is ahead, counts as none. */
function firstAttemptAt({ headers, startedAt }: AttemptFacts): number {
  const header = headers[FIRST_ATTEMPT_HEADER];
  return typeof header === "number" && header <= startedAt ? header : startedAt;
}

function lastDelayMs({ headers }: AttemptFacts, { baseMs, maxMs }: ResolvedCurve): number {
  const header = headers[LAST_DELAY_HEADER];
  return typeof header === "number" && header >= baseMs && header <= maxMs ? header : baseMs;
}

/** By class, by a name anywhere in its ancestry, by a system error's code, or by a function. */
export function matchesError(error: unknown, matcher: ErrorMatcher): boolean {
  if (typeof matcher === "string") return namesOf(error).includes(matcher);
  if (isClass(matcher)) return error instanceof matcher;
  return matcher(error);
}

/** Failing again is certain, so trying again is pointless. By name and code, because the error may come from another copy of these classes. */
function isFinal(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return (
    error instanceof NonRetryableError || error.name === "NonRetryableError" || (error as { code?: unknown }).code === "TASK_ARGUMENTS"
  );
}

function isClass(matcher: ErrorMatcher): matcher is abstract new (...args: never[]) => Error {
  return typeof matcher === "function" && (matcher === Error || matcher.prototype instanceof Error);
}

function namesOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [];
  const names = [error.name];
  for (let proto: unknown = Object.getPrototypeOf(error); proto instanceof Error; proto = Object.getPrototypeOf(proto)) {
    names.push(proto.constructor.name);
  }
  names.push("Error");
  const code = (error as { code?: unknown }).code;
  if (typeof code === "string") names.push(code, ...(PYTHON_NAMES[code] ?? []));
  return names;
}

/** Names under which Python users know Node's system errors, with the ancestors they would catch. */
const PYTHON_NAMES: Readonly<Record<string, readonly string[]>> = {
  ECONNREFUSED: ["ConnectionRefusedError", "ConnectionError", "OSError"],
  ECONNRESET: ["ConnectionResetError", "ConnectionError", "OSError"],
  ECONNABORTED: ["ConnectionAbortedError", "ConnectionError", "OSError"],
  EPIPE: ["BrokenPipeError", "ConnectionError", "OSError"],
  ETIMEDOUT: ["TimeoutError", "OSError"],
  ENOENT: ["FileNotFoundError", "OSError"],
  EEXIST: ["FileExistsError", "OSError"],
  EACCES: ["PermissionError", "OSError"],
  EPERM: ["PermissionError", "OSError"],
};
