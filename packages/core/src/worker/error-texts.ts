/** What is told of an error beside its document: never what may hold arguments. */
import { NotRegistered, TaskRevokedError, TimeLimitExceeded, WorkerLostError } from "../protocol/celery-errors.ts";
import { errorText } from "../shared/errors.ts";

/** Characters of a stack that a dead letter keeps. */
const STACK_MAX = 4000;

/** Where an error was thrown, without its text: that may hold arguments. */
export function framesOf(error: unknown): { readonly stack?: string } {
  if (!(error instanceof Error) || isOurVerdict(error) || error.stack === undefined) return {};
  const frames = error.stack.split("\n").filter((line) => /^\s+at /.test(line));
  return frames.length === 0 ? {} : { stack: frames.join("\n").slice(0, STACK_MAX) };
}

/** An error's name and the first line of its text. */
export function oneLine(error: unknown): string {
  const name = error instanceof Error ? `${error.name}: ` : "";
  return (name + (errorText(error).split("\n", 1)[0] ?? "")).slice(0, 300);
}

/** Worker-side verdicts have no stack that would tell a user anything. */
export function isOurVerdict(error: unknown): boolean {
  return (
    error instanceof TaskRevokedError ||
    error instanceof TimeLimitExceeded ||
    error instanceof NotRegistered ||
    error instanceof WorkerLostError
  );
}
