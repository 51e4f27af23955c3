/** The log of a thread or process whose lines are written by another: fields cross as data, errors as their text and stack. */
import { errorText } from "../shared/errors.ts";
import type { LogFields, Logger, LogLevel } from "../shared/log.ts";

/** @param levels those that are written at the other end; undefined: all */
export function postingLogger(
  post: (level: LogLevel, fields: LogFields, message: string) => void,
  levels?: readonly LogLevel[],
  bound: LogFields = {},
): Logger {
  const isLevelEnabled = (level: LogLevel): boolean => levels === undefined || levels.includes(level);
  const at =
    (level: LogLevel) =>
    (fields: LogFields, message: string): void => {
      if (!isLevelEnabled(level)) return;
      const { err, ...others } = fields;
      const cause =
        err === undefined
          ? {}
          : {
              err: {
                name: err instanceof Error ? err.name : undefined,
                message: errorText(err),
                stack: err instanceof Error ? err.stack : undefined,
              },
            };
      post(level, { ...bound, ...others, ...cause }, message);
    };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: (fields) => postingLogger(post, levels, { ...bound, ...fields }),
    isLevelEnabled,
  };
}
