/** The logger of a process that the command line started: lines for people or, with `--log-format json`, pino's JSON. */
import { closeSync, openSync, writeSync } from "node:fs";
import type { Clock } from "../shared/clock.ts";
import type { Logger, LogFields, LogLevel } from "../shared/log.ts";
import { formatLogLine } from "./log-format.ts";
import type { Colors } from "./output.ts";

export type LogFormat = "human" | "json";

/** Celery's names of levels, and pino's. `critical` and `fatal`: nothing that is logged here is as bad as that. */
export const LOG_LEVELS = ["debug", "info", "warning", "warn", "error", "critical", "fatal"] as const;
export type LogLevelName = (typeof LOG_LEVELS)[number];

const SEVERITY: Readonly<Record<LogLevel, number>> = { debug: 20, info: 30, warn: 40, error: 50 };
const THRESHOLD: Readonly<Record<LogLevelName, number>> = { ...SEVERITY, warning: 40, critical: 60, fatal: 60 };

export interface LogOptions {
  readonly format: LogFormat;
  readonly level: LogLevelName;
  /** Celery's process name: `MainProcess`, `Worker-2`. */
  readonly process: string;
  readonly colors: Colors;
  readonly lines: LineWriter;
  readonly clock: Clock;
}

export async function makeLogger(options: LogOptions): Promise<Logger> {
  return options.format === "json" ? jsonLogger(options) : new HumanLogger(options, {});
}

class HumanLogger implements Logger {
  readonly #options: LogOptions;
  readonly #fields: LogFields;
  readonly #threshold: number;

  constructor(options: LogOptions, fields: LogFields) {
    this.#options = options;
    this.#fields = fields;
    this.#threshold = THRESHOLD[options.level];
  }

  debug(fields: LogFields, message: string): void {
    this.#write("debug", fields, message);
  }

  info(fields: LogFields, message: string): void {
    this.#write("info", fields, message);
  }

  warn(fields: LogFields, message: string): void {
    this.#write("warn", fields, message);
  }

  error(fields: LogFields, message: string): void {
    this.#write("error", fields, message);
  }

  child(fields: LogFields): Logger {
    return new HumanLogger(this.#options, { ...this.#fields, ...fields });
  }

  isLevelEnabled(level: LogLevel): boolean {
    return SEVERITY[level] >= this.#threshold;
  }

  #write(level: LogLevel, fields: LogFields | string, message: string | undefined): void {
    if (!this.isLevelEnabled(level)) return;
    const { clock, colors, lines, process } = this.#options;
    // Users log as with pino: the fields may be left out, or be an error.
    const own = typeof fields === "string" ? {} : fields instanceof Error ? { err: fields } : fields;
    const sentence = typeof fields === "string" ? fields : (message ?? (fields instanceof Error ? fields.message : ""));
    lines.write(formatLogLine({ at: clock.now(), level, process, fields: { ...this.#fields, ...own }, message: sentence }, colors));
  }
}

async function jsonLogger(options: LogOptions): Promise<Logger> {
  const { pino } = await import("pino");
  const { hostname } = await import("node:os");
  const level = THRESHOLD[options.level] === 60 ? "fatal" : options.level === "warning" ? "warn" : options.level;
  const logger: Logger = pino({ level, base: { pid: process.pid, hostname: hostname(), process: options.process } }, options.lines);
  return logger;
}

/**
 * Writes lines with one system call a turn of the event loop, however many tasks began or ended in it. The first line
 * of a turn goes out at once: a task that then blocks the loop has been announced.
 */
export class LineWriter {
  readonly #out: (text: string) => void;
  #pending = "";
  #isTurnOpen = false;

  constructor(out: (text: string) => void) {
    this.#out = out;
  }

  write(line: string): void {
    if (this.#isTurnOpen) {
      this.#pending += line;
      return;
    }
    this.#isTurnOpen = true;
    this.#out(line);
    setImmediate(() => {
      this.#isTurnOpen = false;
      this.flush();
    });
  }

  /** Also to be called when the process ends. */
  flush(): void {
    if (this.#pending === "") return;
    const text = this.#pending;
    this.#pending = "";
    this.#out(text);
  }
}

/** Appends to a file, so that several processes can share it and `copytruncate` of logrotate works. */
export function openLogFile(path: string): { write(text: string): void; close(): void } {
  const file = openSync(path, "a");
  return { write: (text) => void writeSync(file, text), close: () => closeSync(file) };
}
