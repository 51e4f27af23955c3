/** Text that reads as Python's `repr`: what monitors show of arguments and results. Never longer than asked, never throws. */
import { isUtf8 } from "node:buffer";
import { asBuffer } from "./bytes.ts";
import { Decimal, PlainDate, PlainTime, Uuid } from "./json-values.ts";

const DEEPEST = 3;

export function pythonRepr(value: unknown, max = 1024): string {
  return cut(safely(repr, value, 0, max), max);
}

export function argsRepr(args: readonly unknown[], max = 1024): string {
  if (args.length === 1) return cut(`(${safely(repr, args[0], 1, max)},)`, max);
  return cut(`(${safely(joined, args, 1, max)})`, max);
}

export function kwargsRepr(kwargs: Readonly<Record<string, unknown>>, max = 1024): string {
  return cut(safely(repr, kwargs, 0, max), max);
}

/** Getters, proxies and dates of other kinds may throw. */
function safely<T>(show: (value: T, depth: number, max: number) => string, value: T, depth: number, max: number): string {
  try {
    return show(value, depth, max);
  } catch {
    return "<unrepresentable>";
  }
}

/** Never between the halves of a surrogate pair: Python could not print what is left. */
function cut(text: string, max: number): string {
  if (text.length <= max) return text;
  const end = Math.max(0, max - 3);
  const isHalf = end > 0 && (text.charCodeAt(end - 1) & 0xfc00) === 0xd800;
  return `${text.slice(0, isHalf ? end - 1 : end)}...`;
}

function repr(value: unknown, depth: number, max: number): string {
  switch (typeof value) {
    case "string":
      return quote(value.length > max ? value.slice(0, max + 1) : value);
    case "number":
      return Number.isNaN(value) ? "nan" : value === Infinity ? "inf" : value === -Infinity ? "-inf" : String(value);
    case "boolean":
      return value ? "True" : "False";
    case "bigint":
      return value.toString();
    case "undefined":
      return "None";
    case "object":
      return value === null ? "None" : reprObject(value, depth, max);
    default:
      return `<${typeof value}>`;
  }
}

function reprObject(value: object, depth: number, max: number): string {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "<invalid date>" : `datetime(${quote(value.toISOString())})`;
  if (value instanceof Uint8Array) return reprBytes(value, max);
  if (value instanceof Decimal) return `Decimal('${value.text}')`;
  if (value instanceof Uuid) return `UUID('${value.text}')`;
  if (value instanceof PlainDate || value instanceof PlainTime) return quote(value.text);
  if (value instanceof Error) return `${value.name}(${quote(value.message)})`;
  if (depth >= DEEPEST) return Array.isArray(value) ? (value.length === 0 ? "[]" : "[...]") : "{...}";
  if (Array.isArray(value)) return `[${joined(value, depth + 1, max)}]`;
  if ("lovage_sealed" in value) return "<encrypted>";
  let text = "";
  for (const key of Object.keys(value)) {
    if (text.length > max) break;
    text += `${text === "" ? "" : ", "}${quote(key)}: ${repr((value as Record<string, unknown>)[key], depth + 1, max)}`;
  }
  return `{${text}}`;
}

/** Text as text, other bytes as hex, as Celery shows them (celery/utils/saferepr.py). */
function reprBytes(bytes: Uint8Array, max: number): string {
  const shown = asBuffer(bytes).subarray(0, max + 1);
  return `b${quote(isUtf8(shown) ? shown.toString("utf8") : shown.toString("hex"))}`;
}

function joined(items: readonly unknown[], depth: number, max: number): string {
  let text = "";
  for (let i = 0; i < items.length && text.length <= max; i++) text += (i === 0 ? "" : ", ") + repr(items[i], depth, max);
  return text;
}

const NEEDS_ESCAPE = /[\x00-\x1f\x7f'\\]/;

/** Single quotes, unless the text holds one and no double quote, as Python does. */
function quote(text: string): string {
  if (!NEEDS_ESCAPE.test(text)) return `'${text}'`;
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replaceAll(
    /[\x00-\x1f\x7f\\]/g,
    (unit) => ESCAPES[unit] ?? `\\x${unit.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return mark + (mark === "'" ? escaped.replaceAll("'", "\\'") : escaped) + mark;
}

const ESCAPES: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };
