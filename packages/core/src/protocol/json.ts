/**
 * JSON as Python writes and reads it (celery-protocol 1.8): ", " and ": ", ASCII only, typed values as
 * `{"__type__": ..., "__value__": ...}`; and in reading NaN and Infinity as bare words, and integers of any length.
 */
import { DEFAULT_LIMITS, type DecodeLimits } from "./limits.ts";
import { ProtocolError } from "./errors.ts";
import { formatInstant, parseInstant } from "./instant.ts";
import { Decimal, PlainDate, PlainTime, Uuid, WireDate } from "./json-values.ts";

export interface EncodeJsonOptions {
  /** Dates, bytes, decimals and ids as kombu 5.3 and later know them; false: as plain text, for older peers. Default true. */
  readonly typed?: boolean;
  /** For errors: what is being written. */
  readonly where?: string;
}

const DEEPEST = 200;

/** @throws ProtocolError with the path to a value that JSON cannot hold. */
export function encodeJson(value: unknown, options: EncodeJsonOptions = {}): string {
  return write(value, options.where ?? "value", options.typed !== false, 0);
}

function write(value: unknown, path: string, typed: boolean, depth: number): string {
  switch (typeof value) {
    case "string":
      return quote(value);
    case "number":
      if (!Number.isFinite(value)) throw new ProtocolError("unsupported", path, `${value} cannot be written as JSON`);
      return Object.is(value, -0) ? "-0.0" : pythonNumber(value);
    case "boolean":
      return value ? "true" : "false";
    case "bigint":
      return value.toString();
    case "object":
      return value === null ? "null" : writeObject(value, path, typed, depth + 1);
    default:
      throw new ProtocolError("unsupported", path, `a value of type ${typeof value} cannot be written as JSON`);
  }
}

function pythonNumber(value: number): string {
  return String(value).replace(/e\+?(-?)(\d)$/, "e$10$2");
}

function writeObject(value: object, path: string, typed: boolean, depth: number): string {
  if (depth > DEEPEST)
    throw new ProtocolError("unsupported", path.slice(0, 200), `it is nested more than ${DEEPEST} deep, or holds itself`);
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    let text = "[";
    for (let i = 0; i < value.length; i++) text += (i === 0 ? "" : ", ") + write(value[i], `${path}[${i}]`, typed, depth);
    return `${text}]`;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return writeInstance(value, path, typed, depth);
  return writeMap(value as Record<string, unknown>, path, typed, depth);
}

function writeMap(map: Record<string, unknown>, path: string, typed: boolean, depth: number): string {
  let text = "";
  for (const key of Object.keys(map)) {
    const item = map[key];
    if (item === undefined)
      throw new ProtocolError("unsupported", `${path}.${key}`, "undefined cannot be written as JSON: leave the key out, or use null");
    text += `${text === "" ? "" : ", "}${quote(key)}: ${write(item, `${path}.${key}`, typed, depth)}`;
  }
  return `{${text}}`;
}

function writeInstance(value: object, path: string, typed: boolean, depth: number): string {
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw new ProtocolError("unsupported", path, "an invalid Date cannot be written as JSON");
    return typedText("datetime", value instanceof WireDate ? value.text : formatInstant(value.getTime()).text, typed);
  }
  if (value instanceof Uint8Array) return writeBytes(value, path, typed);
  if (value instanceof Decimal) return typedText("decimal", value.text, typed);
  if (value instanceof PlainDate) return typedText("date", value.text, typed);
  if (value instanceof PlainTime) return typedText("time", value.text, typed);
  if (value instanceof Uuid)
    return typed ? `{"__type__": "uuid", "__value__": {"hex": ${quote(value.text.replaceAll("-", ""))}}}` : quote(value.text);
  if (value instanceof Map || value instanceof Set)
    throw new ProtocolError("unsupported", path, `a ${value.constructor.name} cannot be written as JSON: use an object or an array`);
  if ("toJSON" in value && typeof value.toJSON === "function") return write(value.toJSON(), path, typed, depth);
  return writeMap(value as Record<string, unknown>, path, typed, depth);
}

function typedText(type: string, text: string, typed: boolean): string {
  return typed ? `{"__type__": "${type}", "__value__": ${quote(text)}}` : quote(text);
}

function writeBytes(bytes: Uint8Array, path: string, typed: boolean): string {
  if (!typed) throw new ProtocolError("unsupported", path, "bytes cannot be written as plain JSON");
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = buffer.toString("utf8");
  return Buffer.from(text, "utf8").equals(buffer) ? typedText("bytes", text, true) : typedText("base64", buffer.toString("base64"), true);
}

const NOT_PLAIN = /[^\x20-\x7e]|["\\]/;
const NOT_ASCII = /[\x7f-\uffff]/g;

/** As json.dumps does: everything beyond ASCII as \uXXXX. */
export function quote(text: string): string {
  if (!NOT_PLAIN.test(text)) return `"${text}"`;
  return JSON.stringify(text).replace(NOT_ASCII, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

// --- reading ---------------------------------------------------------------------------------------------------------

const TYPED = /"__type__"/;
const LONG_INTEGER = /(?<![\d.])\d{16,}(?![\d.eE])/;

/** @throws ProtocolError */
export function decodeJson(text: string, limits: DecodeLimits = DEFAULT_LIMITS, where = "json"): unknown {
  if (text.length > limits.maxBytes)
    throw new ProtocolError("tooLarge", where, `${text.length} characters, more than the ${limits.maxBytes} accepted`);
  checkDepth(text, limits.maxDepth, where);
  const value = LONG_INTEGER.test(text) ? parseSlowly(text, where) : parse(text, where);
  return TYPED.test(text) ? revive(value, where) : value;
}

function parse(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return parseSlowly(text, where);
  }
}

/** Brackets are counted before anything recurses; strings cannot hide more of them than there are characters. */
function checkDepth(text: string, deepest: number, where: string): void {
  if (!hasMoreThan(text, "[", "{", deepest)) return;
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (inString) {
      if (unit === 0x5c) i++;
      else if (unit === 0x22) inString = false;
    } else if (unit === 0x22) inString = true;
    else if (unit === 0x5b || unit === 0x7b) {
      if (++depth > deepest) throw new ProtocolError("malformed", where, `nested more than ${deepest} deep`);
    } else if (unit === 0x5d || unit === 0x7d) depth--;
  }
}

/** A search of the engine's own is many times faster than a loop over the units. */
function hasMoreThan(text: string, one: string, other: string, most: number): boolean {
  let count = 0;
  for (const bracket of [one, other]) {
    for (let at = text.indexOf(bracket); at >= 0; at = text.indexOf(bracket, at + 1)) if (++count > most) return true;
  }
  return false;
}

const TOKENS = /"(?:[^"\\]|\\.)*"|-?Infinity|NaN|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/gs;
const NOT_PLAIN_NUMBER = /^-?(?:Infinity|\d{16,})$|^NaN$/;
const MARK = "\u0000lovage\u0000";

/** NaN and Infinity, and integers beyond 2^53, are put into strings that no message holds, parsed, and taken out again. */
function parseSlowly(text: string, where: string): unknown {
  const marked = text.replace(TOKENS, (token) => (NOT_PLAIN_NUMBER.test(token) ? JSON.stringify(MARK + token) : token));
  try {
    return unmark(JSON.parse(marked));
  } catch (error) {
    throw new ProtocolError("malformed", where, "not JSON", { cause: error });
  }
}

function unmark(value: unknown): unknown {
  if (typeof value === "string") {
    if (!value.startsWith(MARK)) return value;
    const token = value.slice(MARK.length);
    if (/[NI]/.test(token)) return Number(token);
    const exact = BigInt(token);
    return Number.isSafeInteger(Number(exact)) ? Number(exact) : exact;
  }
  if (Array.isArray(value)) return value.map(unmark);
  if (typeof value !== "object" || value === null) return value;
  return mapValues(value as Record<string, unknown>, unmark);
}

function mapValues(map: Record<string, unknown>, change: (value: unknown) => unknown): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const key of Object.keys(map)) {
    const value = change(map[key]);
    if (key === "__proto__") Object.defineProperty(result, key, { value, enumerable: true, configurable: true, writable: true });
    else result[key] = value;
  }
  return result;
}

function revive(value: unknown, where: string): unknown {
  if (Array.isArray(value)) return value.map((item) => revive(item, where));
  if (typeof value !== "object" || value === null) return value;
  const map = value as Record<string, unknown>;
  const keys = Object.keys(map);
  if (keys.length === 2 && Object.hasOwn(map, "__type__") && Object.hasOwn(map, "__value__")) return reviveTyped(map, where);
  return mapValues(map, (item) => revive(item, where));
}

/** A type that is not known here stays the map that it is: an application may have registered it. */
function reviveTyped(map: Record<string, unknown>, where: string): unknown {
  const { __type__: type, __value__: value } = map;
  if (type === "uuid") return new Uuid(dashed(value, where));
  if (typeof value !== "string") return mapValues(map, (item) => revive(item, where));
  switch (type) {
    case "datetime":
      return new WireDate(parseInstant(value, where));
    case "date":
      return new PlainDate(value);
    case "time":
      return new PlainTime(value);
    case "decimal":
      return new Decimal(value);
    case "bytes":
      return Buffer.from(value, "utf8");
    case "base64":
      return Buffer.from(value, "base64");
    default:
      return map;
  }
}

function dashed(value: unknown, where: string): string {
  const hex = typeof value === "object" && value !== null ? (value as { hex?: unknown }).hex : undefined;
  if (typeof hex !== "string" || !/^[0-9a-f]{32}$/i.test(hex)) throw new ProtocolError("malformed", where, "a uuid that is not one");
  return hex.toLowerCase().replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
