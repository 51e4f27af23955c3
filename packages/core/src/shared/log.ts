/**
 * What Lovage asks of a logger: the part of pino's interface that it uses, so that pino, a child of it,
 * or any object with these methods can be handed in. Fields come first, the sentence second.
 */
export interface Logger {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  child(fields: LogFields): Logger;
  /** pino's: asked before a line is made where that would cost something. Without it every level counts as on. */
  isLevelEnabled?(level: LogLevel): boolean;
}

export type LogLevel = "debug" | "info" | "warn" | "error";

/** Secrets and task arguments do not belong here. An error goes under `err`. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Says nothing: the default of library code that was given no logger. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
  isLevelEnabled: () => false,
};
