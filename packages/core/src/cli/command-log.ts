/** What the app and its drivers say while a short command runs: remarks and warnings among the command's own. */
import type { LogFields, Logger } from "../shared/log.ts";
import { withCause } from "./error-report.ts";
import type { Output } from "./output.ts";

export function commandLogger(output: Output, bound: LogFields = {}): Logger {
  const sentence = (fields: LogFields, message: string): string => {
    const shown = Object.entries({ ...bound, ...fields }).map(
      ([name, value]) => `${name}=${value instanceof Error ? withCause(value) : String(value)}`,
    );
    return shown.length === 0 ? message : `${message} (${shown.join(", ")})`;
  };
  return {
    debug() {},
    info: (fields, message) => output.note(sentence(fields, message)),
    warn: (fields, message) => output.warn(sentence(fields, message)),
    error: (fields, message) => output.warn(sentence(fields, message)),
    child: (fields) => commandLogger(output, { ...bound, ...fields }),
    isLevelEnabled: (level) => level !== "debug",
  };
}
