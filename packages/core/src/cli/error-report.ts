/** How an error is told to the person at the keyboard, and to the program that started us. */
import { inspect } from "node:util";
import { errorText, LovageError } from "../shared/errors.ts";
import { EXIT, type ExitCode } from "./exit-codes.ts";
import type { Colors } from "./output.ts";

export interface ErrorReport {
  readonly exit: ExitCode;
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
}

interface Advice {
  readonly exit: ExitCode;
  readonly hint?: string;
}

const WHERE_TO_LOOK =
  "is the server running, and is this its address? -b or CELERY_BROKER_URL changes it; `lovage config broker` shows where it comes from";

/** By `code` of the error. Whatever is not here is a failure without advice. */
const ADVICE: Readonly<Record<string, Advice>> = {
  USAGE: { exit: EXIT.usage },
  CALL: { exit: EXIT.usage },
  PAYLOAD_TOO_LARGE: { exit: EXIT.usage },
  INTERRUPTED: { exit: EXIT.interrupted },
  APP_NOT_FOUND: { exit: EXIT.noApp },
  MODULE_LOAD: { exit: EXIT.noApp, hint: "--traceback shows where in the module it happened" },
  TASK_DEFINITION: { exit: EXIT.noApp },
  CONFIGURATION: { exit: EXIT.configuration },
  HEALTH_PORT: { exit: EXIT.failure },
  SETTING: { exit: EXIT.configuration, hint: "`lovage config --defaults` lists all settings" },
  BROKER_REFUSED: { exit: EXIT.unavailable },
  BACKEND_REFUSED: { exit: EXIT.unavailable },
  BROKER_TIMEOUT: { exit: EXIT.unavailable, hint: WHERE_TO_LOOK },
  BROKER_UNAVAILABLE: { exit: EXIT.unavailable, hint: WHERE_TO_LOOK },
  PUBLISH_TIMEOUT: { exit: EXIT.unavailable, hint: WHERE_TO_LOOK },
  PUBLISH_FAILED: { exit: EXIT.unavailable },
  BACKEND_UNAVAILABLE: {
    exit: EXIT.unavailable,
    hint: "is the server running, and is this its address? --result-backend or CELERY_RESULT_BACKEND changes it",
  },
  OUTBOX_UNAVAILABLE: {
    exit: EXIT.unavailable,
    hint: "is the database up, and is this its address? -d or the setting outbox_url changes it",
  },
  OUTBOX_SCHEMA: { exit: EXIT.configuration },
  OUTBOX_DRIVER_MISSING: { exit: EXIT.configuration },
  RESULTS_DISABLED: { exit: EXIT.configuration },
  RESULT_TIMEOUT: { exit: EXIT.timeout },
};

export function reportError(error: unknown): ErrorReport {
  if (isOurs(error)) {
    const advice = ADVICE[error.code] ?? { exit: EXIT.failure };
    return {
      exit: advice.exit,
      code: error.code,
      message: withCause(error),
      hint: typeof error.hint === "string" ? error.hint : advice.hint,
    };
  }
  return {
    exit: EXIT.internal,
    code: "INTERNAL",
    message: errorText(error),
    hint: "run it again with --traceback, and report what it prints",
  };
}

/** `cannot reach the broker at redis://db:6379/0` is half of what one needs to know; `getaddrinfo ENOTFOUND db` the other. */
export function withCause(error: Error): string {
  const reason = rootReason(error.cause);
  return reason === "" || error.message.includes(reason) ? error.message : `${error.message}: ${reason}`;
}

/** Several addresses that were tried in vain come as an AggregateError without a message of its own. */
function rootReason(cause: unknown): string {
  if (cause instanceof AggregateError && cause.message === "") return [...new Set(cause.errors.map(errorText))].join(", ");
  return cause instanceof Error ? cause.message : "";
}

/** Errors of another copy of Lovage, the one that the user's module imports, are known by their code. */
function isOurs(error: unknown): error is Error & { readonly code: string; readonly hint?: unknown } {
  if (error instanceof LovageError) return true;
  return error instanceof Error && "code" in error && typeof error.code === "string" && Object.hasOwn(ADVICE, error.code);
}

/** Lines for the standard error; with `--json` one JSON document. */
export function errorLines(
  report: ErrorReport,
  error: unknown,
  how: { readonly json: boolean; readonly traceback: boolean; readonly colors: Colors },
): string {
  const { colors } = how;
  const { code, message, hint } = report;
  if (how.json)
    return `${JSON.stringify({ error: { code, message, ...(hint === undefined ? {} : { hint }), ...(how.traceback ? { stack: inspect(error) } : {}) } })}\n`;
  const lines = [`${colors.red("error:")} ${message}`];
  if (hint !== undefined) lines.push(`${colors.cyan("hint:")} ${hint}`);
  if (how.traceback) lines.push(colors.dim(inspect(error)));
  return `${lines.join("\n")}\n`;
}
