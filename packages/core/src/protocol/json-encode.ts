/**
 * JSON as Python writes it (celery-protocol 1.8): ", " and ": ", ASCII only, and typed values as
 * `{"__type__": ..., "__value__": ...}`.
 */
import { types } from "node:util";
import { ProtocolError } from "./errors.ts";
import { formatInstant } from "./instant.ts";
import { Decimal, PlainDate, PlainTime, Uuid, WireDate } from "./json-values.ts";

export interface EncodeJsonOptions {
  /** Dates, bytes, decimals and ids as kombu 5.3 and later know them; false: as plain text, for older peers. Default true. */
  readonly typed?: boolean;
  /** What is undefined: `refuse` it, or do as JSON.stringify does: leave out properties, write null in lists. Default `refuse`. */
  readonly undefinedProperties?: "refuse" | "drop";
  /** NaN and Infinity: `refuse` them, or write the bare words that Python reads and writes, for what came from there. Default `refuse`. */
  readonly nonFinite?: "refuse" | "pass";
  /** Instances of classes without `toJSON()`: write their `fields`, or `refuse` them, since they would arrive as plain objects. Default `fields`. */
  readonly instances?: "fields" | "refuse";
  /** For errors: what is being written. */
  readonly where?: string;
}

const DEEPEST = 200;

interface Writing {
  readonly typed: boolean;
  readonly dropsUndefined: boolean;
  readonly passesNonFinite: boolean;
  readonly refusesInstances: boolean;
  /** Names and indexes on the way to the value at hand; kept only when an error is to say where it is. */
  readonly path: (string | number)[] | undefined;
}

/** @throws ProtocolError with the path to a value that JSON cannot hold. */
export function encodeJson(value: unknown, options: EncodeJsonOptions = {}): string {
  const typed = options.typed !== false;
  const dropsUndefined = options.undefinedProperties === "drop";
  const passesNonFinite = options.nonFinite === "pass";
  const refusesInstances = options.instances === "refuse";
  try {
    return write(value, { typed, dropsUndefined, passesNonFinite, refusesInstances, path: undefined }, 0);
  } catch (error) {
    const writing = { typed, dropsUndefined, passesNonFinite, refusesInstances, path: [] };
    const where = whereIs(value, writing, options.where ?? "value");
    if (error instanceof Unwritable) throw new ProtocolError("unsupported", where, error.message);
    throw new ProtocolError("unsupported", where, "reading it threw an error: see the cause", { cause: error }); // a getter, a toJSON()
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
      if (!Number.isFinite(value) && !writing.passesNonFinite) throw new Unwritable(`${value} cannot be written as JSON`);
      return writeNumber(value);
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

/** A double beyond 2^53 keeps the looks of a float: as an integer it would come back as a bigint. Exponents as Python has them. */
function writeNumber(value: number): string {
  if (Number.isSafeInteger(value)) return value === 0 && Object.is(value, -0) ? "-0.0" : `${value}`;
  const text = `${value}`;
  if (text.includes("e")) return text.replace(/e\+?(-?)(\d)$/, "e$10$2");
  return Number.isInteger(value) ? `${text}.0` : text;
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
    const item = list[i];
    text += (i === 0 ? "" : ", ") + (item === undefined && writing.dropsUndefined ? "null" : write(item, writing, depth));
    writing.path?.pop();
  }
  return `[${text}]`;
}

function writeMap(map: Record<string, unknown>, writing: Writing, depth: number): string {
  let text = "";
  for (const key of Object.keys(map)) {
    writing.path?.push(key);
    const item = map[key];
    if (item !== undefined || !writing.dropsUndefined) text += `${text === "" ? "" : ", "}${quote(key)}: ${write(item, writing, depth)}`;
    writing.path?.pop();
  }
  return `{${text}}`;
}

function writeInstance(value: object, writing: Writing, depth: number): string {
  const { typed } = writing;
  if (value instanceof Date) {
    checkDate(value);
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
  if (value instanceof Error) throw new Unwritable("an error cannot be written as JSON: throw it, or use its message");
  if (types.isBoxedPrimitive(value)) return write(value.valueOf(), writing, depth);
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value))
    throw new Unwritable("an array of numbers in memory cannot be written as JSON: use Array.from() or a Uint8Array of its bytes");
  if (value instanceof RegExp || types.isWeakMap(value) || types.isWeakSet(value) || value instanceof WeakRef)
    throw new Unwritable(`a ${value.constructor.name} cannot be written as JSON`); // it would be an empty object
  if (writing.refusesInstances && !isPlainElsewhere(value))
    throw new Unwritable(`an instance of ${className(value)} would arrive as a plain object: pass its fields, or give it a toJSON()`);
  return writeMap(value as Record<string, unknown>, writing, depth);
}

/** A plain object of another realm, such as a `vm` context. */
function isPlainElsewhere(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype as object, "isPrototypeOf");
}

function className(value: object): string {
  const { constructor } = value as { readonly constructor?: unknown };
  return typeof constructor === "function" && constructor.name !== "" ? constructor.name : "a class";
}

/** Python's calendar has no other years: it could not read the message. */
function checkDate(date: Date): void {
  const year = date.getUTCFullYear();
  if (Number.isNaN(year)) throw new Unwritable("an invalid Date cannot be written as JSON");
  if (year < 1 || year > 9999) throw new Unwritable("a Date outside of the years 1 to 9999 cannot be written as JSON");
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

const quoted = new Map<string, string>();
const QUOTED_MAX = 1000;

/** The same for texts of which there are few, such as names of queues: looked at once. */
export function quoteName(name: string): string {
  const known = quoted.get(name);
  if (known !== undefined) return known;
  if (quoted.size >= QUOTED_MAX) quoted.clear();
  const text = quote(name);
  quoted.set(name, text);
  return text;
}
