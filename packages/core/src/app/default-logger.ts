/** The log of an app that was given none: one line each on the standard error, warnings and what a newcomer must know. */
import type { LogFields, Logger } from "../shared/log.ts";
import { errorText } from "../shared/errors.ts";

export function defaultLogger(bound: LogFields = {}): Logger {
  const write = (level: string, fields: LogFields, message: string): void => {
    const shown = Object.entries({ ...bound, ...fields }).map(
      ([name, value]) => `${name}=${name === "err" ? errorText(value) : String(value)}`,
    );
    process.stderr.write(`lovage ${level}: ${[message, ...shown].join(" ")}\n`);
  };
  return {
    debug() {},
    info: (fields, message) => write("info", fields, message),
    warn: (fields, message) => write("warning", fields, message),
    error: (fields, message) => write("error", fields, message),
    child: (fields) => defaultLogger({ ...bound, ...fields }),
  };
}
