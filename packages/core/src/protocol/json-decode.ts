/**
 * JSON as Python writes it (celery-protocol 1.8): NaN and Infinity as bare words, integers of any length, and typed
 * values as `{"__type__": ..., "__value__": ...}`.
 */
import { ProtocolError } from "./errors.ts";
import { parseInstant } from "./instant.ts";
import { parseLossless } from "./json-lossless.ts";
import { Decimal, PlainDate, PlainTime, Uuid, WireDate } from "./json-values.ts";
import { DEFAULT_LIMITS, type DecodeLimits } from "./limits.ts";

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
    value = parseLossless(text, where);
  }
  const found = look(value, limits.maxDepth);
  if (found < 0) throw tooDeep(limits.maxDepth, where);
  if (found & LONG_INTEGER) value = parseLossless(text, where);
  return found & TYPED_VALUE ? revive(value, where) : value;
}

/**
 * What JSON.parse cannot have done right: an integer beyond 2^53, a typed value. Negative when nested deeper than `left`.
 * Looking at the values costs a fifth of looking for the same in the text.
 */
function look(value: unknown, left: number): number {
  if (typeof value === "number") return value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER ? LONG_INTEGER : 0;
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
      parseInstant(value, where); // refuses what is none
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
