/** From a row of the outbox to the message that is to be published. */
import type { Lovage } from "../app/app.ts";
import type { CallOptions } from "../app/call-options.ts";
import type { Outgoing } from "../brokers/broker.ts";
import { decodeEnvelope } from "../protocol/envelope.ts";
import { decodeJson } from "../protocol/json.ts";
import { readUnique, UNIQUE_HEADER } from "../protocol/unique.ts";
import { DEFAULT_LIMITS } from "../protocol/limits.ts";
import { errorText } from "../shared/errors.ts";
import { UnpublishableRowError } from "./errors.ts";
import type { OutboxRow } from "./store.ts";

/** @throws UnpublishableRowError that says why, without the arguments */
export function messageOf(row: OutboxRow, app: Lovage): Outgoing {
  try {
    return row.envelope === null ? fromPlainRow(row, app) : fromEnvelope(row.envelope);
  } catch (error) {
    throw new UnpublishableRowError(errorText(error), { cause: error });
  }
}

function fromEnvelope(envelope: string): Outgoing {
  const { message, info } = decodeEnvelope(envelope);
  if (info.routingKey === "" && info.exchange === "")
    throw new UnpublishableRowError("its envelope names neither an exchange nor a routing key");
  const unique = envelope.includes(UNIQUE_HEADER) ? readUnique(message.headers[UNIQUE_HEADER]) : undefined;
  return { message, exchange: info.exchange, routingKey: info.routingKey, unique };
}

function fromPlainRow(row: OutboxRow, app: Lovage): Outgoing {
  const args = decodeJson(row.args, DEFAULT_LIMITS, "args");
  const kwargs = decodeJson(row.kwargs, DEFAULT_LIMITS, "kwargs");
  const options = decodeJson(row.options, DEFAULT_LIMITS, "options");
  if (row.task === "") throw new UnpublishableRowError("it names no task");
  if (!Array.isArray(args)) throw new UnpublishableRowError("args is not a list");
  if (!isMap(kwargs)) throw new UnpublishableRowError("kwargs is not an object");
  if (!isMap(options)) throw new UnpublishableRowError("options is not an object");
  return app.calls.prepare({ name: row.task, args, kwargs, options: { ...readOptions(options, row.createdAt), taskId: row.id } }).outgoing;
}

/** Options of Celery's `apply_async`, in its spelling or in ours. Times in text are ISO 8601; a countdown counts from the row's insertion. */
function readOptions(written: Readonly<Record<string, unknown>>, createdAt: number): CallOptions {
  const options: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(written)) {
    if (value === null) continue; // as None in Python: not given
    const ours = name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    if (ours === "countdown") options["eta"] = after(createdAt, value);
    else if (ours === "expires" && typeof value === "number") options[ours] = after(createdAt, value);
    else if (ours === "eta" || ours === "expires") options[ours] = instant(ours, value);
    else options[ours] = value;
  }
  return options; // `prepare` checks the names
}

function after(createdAt: number, seconds: unknown): Date {
  if (typeof seconds !== "number") throw new UnpublishableRowError("options.countdown is not a number of seconds");
  return new Date(createdAt + seconds * 1000);
}

function instant(name: string, value: unknown): Date {
  const date = value instanceof Date ? value : typeof value === "string" ? new Date(isZoned(value) ? value : `${value}Z`) : undefined;
  if (date === undefined || Number.isNaN(date.getTime())) throw new UnpublishableRowError(`options.${name} is not a time in ISO 8601`);
  return date;
}

/** Without an offset a time is UTC, as in Celery's messages. */
function isZoned(text: string): boolean {
  return /(?:z|[+-]\d\d:?\d\d)$/i.test(text);
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
