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
  /** Properties that are undefined: `refuse` them, or leave them out as JSON.stringify does. Default `refuse`. */
  readonly undefinedProperties?: "refuse" | "drop";
  /** For errors: what is being written. */
  readonly where?: string;
}

const DEEPEST = 200;

interface Writing {
  readonly typed: boolean;
  readonly dropsUndefined: boolean;
  /** Names and indexes on the way to the value at hand; kept only when an error is to say where it is. */
  readonly path: (string | number)[] | undefined;
}

/** @throws ProtocolError with the path to a value that JSON cannot hold. */
export function encodeJson(value: unknown, options: EncodeJsonOptions = {}): string {
  const typed = options.typed !== false;
  const dropsUndefined = options.undefinedProperties === "drop";
  try {
    return write(value, { typed, dropsUndefined, path: undefined }, 0);
  } catch (error) {
    if (!(error instanceof Unwritable)) throw error;
    throw new ProtocolError("unsupported", whereIs(value, { typed, dropsUndefined, path: [] }, options.where ?? "value"), error.message);
  }
}

/** Thrown and caught here: where the value stands is found only when it is needed. */
class Unwritable extends Error {}

/** Walks the same way again, to the value that could not be written. */
function whereIs(value: unknown, writing: Writing & { readonly path: (string | number)[] }, where: string): string {
  try {
    write(value, writing, 0);
  } catch {
    // the path has stayed where it failed
  }
  const shown = writing.path.slice(0, 20).map((step) => (typeof step === "number" ? `[${step}]` : `.${step.slice(0, 50)}`));
  return where + shown.join("") + (writing.path.length > shown.length ? "..." : "");
}

function write(value: unknown, writing: Writing, depth: number): string {
  switch (typeof value) {
    case "string":
      return quote(value);
    case "number":
      if (!Number.isFinite(value)) throw new Unwritable(`${value} cannot be written as JSON`);
      return Object.is(value, -0) ? "-0.0" : pythonNumber(value);
    case "boolean":
      return value ? "true" : "false";
    case "bigint":
      return value.toString();
    case "object":
      return value === null ? "null" : writeObject(value, writing, depth + 1);
    case "undefined":
      throw new Unwritable("undefined cannot be written as JSON: leave it out, or use null");
    default:
      throw new Unwritable(`a ${typeof value} cannot be written as JSON`);
  }
}

/** Two digits in an exponent, as Python has them. */
function pythonNumber(value: number): string {
  const text = String(value);
  return text.includes("e") ? text.replace(/e\+?(-?)(\d)$/, "e$10$2") : text;
}

function writeObject(value: object, writing: Writing, depth: number): string {
  if (depth > DEEPEST) throw new Unwritable(`it is nested more than ${DEEPEST} deep, or holds itself`);
  if (Array.isArray(value)) return writeArray(value, writing, depth);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return writeInstance(value, writing, depth);
  return writeMap(value as Record<string, unknown>, writing, depth);
}

function writeArray(list: readonly unknown[], writing: Writing, depth: number): string {
  let text = "";
  for (let i = 0; i < list.length; i++) {
    writing.path?.push(i);
    text += (i === 0 ? "" : ", ") + write(list[i], writing, depth);
    writing.path?.pop();
  }
  return `[${text}]`;
}

function writeMap(map: Record<string, unknown>, writing: Writing, depth: number): string {
  let text = "";
  for (const key of Object.keys(map)) {
    const item = map[key];
    if (item === undefined && writing.dropsUndefined) continue;
    writing.path?.push(key);
    text += `${text === "" ? "" : ", "}${quote(key)}: ${write(item, writing, depth)}`;
    writing.path?.pop();
  }
  return `{${text}}`;
}

function writeInstance(value: object, writing: Writing, depth: number): string {
  const { typed } = writing;
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw new Unwritable("an invalid Date cannot be written as JSON");
    return typedText("datetime", value instanceof WireDate ? value.text : formatInstant(value.getTime()).text, typed);
  }
  if (value instanceof Uint8Array) return writeBytes(value, typed);
  if (value instanceof Decimal) return typedText("decimal", value.text, typed);
  if (value instanceof PlainDate) return typedText("date", value.text, typed);
  if (value instanceof PlainTime) return typedText("time", value.text, typed);
  if (value instanceof Uuid)
    return typed ? `{"__type__": "uuid", "__value__": {"hex": ${quote(value.text.replaceAll("-", ""))}}}` : quote(value.text);
  if (value instanceof Map || value instanceof Set)
    throw new Unwritable(`a ${value.constructor.name} cannot be written as JSON: use an object or an array`);
  if (value instanceof Promise) throw new Unwritable("a promise cannot be written as JSON: await it first");
  if ("toJSON" in value && typeof value.toJSON === "function") return write(value.toJSON(), writing, depth);
  return writeMap(value as Record<string, unknown>, writing, depth);
}

function typedText(type: string, text: string, typed: boolean): string {
  return typed ? `{"__type__": "${type}", "__value__": ${quote(text)}}` : quote(text);
}

function writeBytes(bytes: Uint8Array, typed: boolean): string {
  if (!typed) throw new Unwritable("bytes cannot be written as plain JSON");
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = buffer.toString("utf8");
  const isText = Buffer.from(text, "utf8").equals(buffer);
  return isText ? typedText("bytes", text, true) : typedText("base64", buffer.toString("base64"), true);
}

const NOT_PLAIN = /[^\x20-\x7e]|["\\]/;
const NOT_ASCII = /[\x7f-\uffff]/g;

/** As json.dumps does: everything beyond ASCII as \uXXXX. */
export function quote(text: string): string {
  if (!NOT_PLAIN.test(text)) return `"${text}"`;
  return JSON.stringify(text).replace(NOT_ASCII, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

// --- reading ---------------------------------------------------------------------------------------------------------

/** Longer texts are looked at before they are parsed: nested without end, they would take memory for every bracket. */
const SHORT = 65_536;
const LONG_INTEGER = 1;
const TYPED_VALUE = 2;

/** @throws ProtocolError */
export function decodeJson(text: string, limits: DecodeLimits = DEFAULT_LIMITS, where = "json"): unknown {
  if (text.length > limits.maxBytes)
    throw new ProtocolError("tooLarge", where, `${text.length} characters, more than the ${limits.maxBytes} accepted`);
  if (text.length > SHORT) checkDepth(text, limits.maxDepth, where);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    checkDepth(text, limits.maxDepth, where);
    value = parseSlowly(text, where);
  }
  const found = look(value, limits.maxDepth);
  if (found < 0) throw tooDeep(limits.maxDepth, where);
  if (found & LONG_INTEGER) value = parseSlowly(text, where);
  return found & TYPED_VALUE ? revive(value, where) : value;
}

/**
 * What JSON.parse cannot have done right: an integer beyond 2^53, a typed value. Negative when nested deeper than `left`.
 * Looking at the values costs a fifth of looking for the same in the text.
 */
function look(value: unknown, left: number): number {
  if (typeof value === "number") return Number.isInteger(value) && !Number.isSafeInteger(value) ? LONG_INTEGER : 0;
  if (typeof value !== "object" || value === null) return 0;
  if (left === 0) return -1;
  let found = 0;
  if (Array.isArray(value)) {
    for (const item of value) if (typeof item !== "string") found |= look(item, left - 1);
  } else {
    const map = value as Record<string, unknown>;
    for (const key in map) {
      const item = map[key];
      if (typeof item === "string") {
        if (key === "__type__") found |= TYPED_VALUE;
      } else found |= look(item, left - 1); // -1 has all bits, so that nothing makes it positive
    }
  }
  return found;
}

function tooDeep(deepest: number, where: string): ProtocolError {
  return new ProtocolError("malformed", where, `nested more than ${deepest} deep`);
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
      if (++depth > deepest) throw tooDeep(deepest, where);
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
