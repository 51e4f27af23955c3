/**
 * The human log: one line an event, as Celery writes it, so that eyes and scripts used to Celery's log find their way.
 *
 *   [2026-11-21 10:00:00,000: INFO/MainProcess] Task shop.add[id] received
 *
 * What a task logs carries its name and id (Celery's `worker_task_log_format`). Fields that the sentence does not hold
 * follow it as `key=value`, the stack of an error on lines of its own. Pure.
 */
import { inspect } from "node:util";
import type { LogFields, LogLevel } from "../shared/log.ts";
import type { Colors } from "./output.ts";

const CELERY_NAMES: Readonly<Record<LogLevel, string>> = { debug: "DEBUG", info: "INFO", warn: "WARNING", error: "ERROR" };

export interface LogRecord {
  /** ms since 1970. */
  readonly at: number;
  readonly level: LogLevel;
  readonly process: string;
  readonly fields: LogFields;
  readonly message: string;
}

/** Fields for machines that the sentence always says in words. */
const IN_SENTENCE: ReadonlySet<string> = new Set(["runtimeMs"]);

/** Includes the line's end. */
export function formatLogLine(record: LogRecord, colors: Colors): string {
  const { err, ...fields } = record.fields;
  const task = takeTask(fields);
  const head = `[${localTime(record.at)}: ${CELERY_NAMES[record.level]}/${record.process}]`;
  const message = oneLine(
    task === undefined || record.message.includes(task.id) ? record.message : `${task.name}[${task.id}]: ${record.message}`,
  );
  const rest = Object.entries(fields)
    .filter(([key, value]) => value !== undefined && !IN_SENTENCE.has(key) && !(typeof value === "string" && message.includes(value)))
    .map(([key, value]) => ` ${colors.dim(`${key}=`)}${showField(value)}`)
    .join("");
  return `${paint(record.level, head, message, colors)}${rest}${errorLines(err, colors)}\n`;
}

/** Removes the fields that name a task, when both are there. */
function takeTask(fields: Record<string, unknown>): { name: string; id: string } | undefined {
  const name = fields["task"];
  const id = fields["taskId"] ?? fields["id"];
  if (typeof name !== "string" || typeof id !== "string") return undefined;
  delete fields["task"];
  delete fields["taskId"];
  delete fields["id"];
  return { name, id };
}

function paint(level: LogLevel, head: string, message: string, colors: Colors): string {
  switch (level) {
    case "debug":
      return `${colors.dim(head)} ${colors.dim(message)}`;
    case "info":
      return `${colors.cyan(head)} ${message}`;
    case "warn":
      return `${colors.yellow(head)} ${colors.yellow(message)}`;
    case "error":
      return `${colors.red(head)} ${colors.red(message)}`;
  }
}

function showField(value: unknown): string {
  if (Array.isArray(value)) return value.map(showField).join(",");
  if (typeof value === "string") return /^[^\s="]+$/.test(value) ? value : JSON.stringify(value);
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint" || value === null) return String(value);
  return inspect(value, { depth: 3, breakLength: Number.POSITIVE_INFINITY });
}

function errorLines(err: unknown, colors: Colors): string {
  if (err === undefined) return "";
  const text = err instanceof Error ? inspect(err) : typeof err === "string" ? err : inspect(err);
  return `\n${colors.dim(text)}`;
}

const CONTROL_WORDS: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\t" };

/** What tasks and remote errors say may hold line ends and terminal control codes: neither may forge a line of the log. */
function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (code) => CONTROL_WORDS[code] ?? `\\x${code.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

/** `2026-11-21 10:00:00,000`, in the machine's time zone, as Python's logging writes it. */
function localTime(at: number): string {
  const time = new Date(at);
  const two = (value: number): string => String(value).padStart(2, "0");
  return (
    `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ` +
    `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())},${String(time.getMilliseconds()).padStart(3, "0")}`
  );
}
