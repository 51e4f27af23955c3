/** Whether and when a task runs again. Pure: options and numbers in, a delay out. */
import type { Random } from "../shared/clock.ts";
import type { ErrorMatcher, ResolvedBackoff, ResolvedRetry } from "./task-options.ts";
import { NonRetryableError } from "./task-signals.ts";

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

/** Delay before retry number `retries` + 1. */
export function backoffDelayMs(backoff: ResolvedBackoff, retries: number, random: Random): number {
  const grown =
    backoff.kind === "fixed" ? backoff.baseMs : backoff.kind === "linear" ? backoff.baseMs * (retries + 1) : backoff.baseMs * 2 ** retries;
  const capped = Math.min(grown, backoff.maxMs);
  return backoff.jitter === "full" ? Math.floor(random() * (capped + 1)) : capped;
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
