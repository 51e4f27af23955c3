/**
 * Changes to a stored envelope as text: nothing else of it changes, not long integers, not `1.0`, not the order of keys.
 */
import { ProtocolError } from "./errors.ts";
import { encodeJson, quote } from "./json.ts";

/** As kombu marks a message that it restores (celery-protocol 3.6). @throws ProtocolError when it is not an envelope. */
export function markRedelivered(envelope: string): string {
  const marked = setMember(envelope, ["headers"], "redelivered", "true");
  return setMember(marked, ["properties", "delivery_info"], "redelivered", "true");
}

/** Adds headers, or gives those that are there another value. @throws ProtocolError */
export function setHeaders(envelope: string, headers: Readonly<Record<string, unknown>>): string {
  let text = envelope;
  for (const name of Object.keys(headers))
    text = setMember(text, ["headers"], name, encodeJson(headers[name], { where: `headers.${name}`, nonFinite: "pass" }));
  return text;
}

/** Sets `key` of the object at `path` to a JSON text. @throws ProtocolError */
export function setMember(text: string, path: readonly string[], key: string, json: string): string {
  let at = skipSpace(text, 0);
  for (const name of path) {
    const member = findMember(text, at, name);
    if (!member) throw new ProtocolError("malformed", `envelope.${path.join(".")}`, "missing");
    at = member.start;
  }
  const member = findMember(text, at, key);
  if (member) return text.slice(0, member.start) + json + text.slice(member.end);
  const isEmpty = text.charCodeAt(skipSpace(text, at + 1)) === CLOSE_MAP;
  return `${text.slice(0, at + 1)}${quote(key)}: ${json}${isEmpty ? "" : ", "}${text.slice(at + 1)}`;
}

interface Span {
  readonly start: number;
  readonly end: number;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_MAP = 0x7b;
const CLOSE_MAP = 0x7d;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;

/** The value of a member of the object that begins at `at`; of several with one name the last, as readers take it. */
function findMember(text: string, at: number, name: string): Span | undefined {
  if (text.charCodeAt(at) !== OPEN_MAP) throw new ProtocolError("malformed", "envelope", "not an object");
  let found: Span | undefined;
  let i = skipSpace(text, at + 1);
  if (text.charCodeAt(i) === CLOSE_MAP) return undefined;
  for (;;) {
    if (text.charCodeAt(i) !== QUOTE) throw notJson();
    const keyEnd = endOfString(text, i);
    const colon = skipSpace(text, keyEnd);
    if (text.charCodeAt(colon) !== COLON) throw notJson();
    const start = skipSpace(text, colon + 1);
    const end = endOfValue(text, start);
    if (keyOf(text, i, keyEnd) === name) found = { start, end };
    const next = skipSpace(text, end);
    if (text.charCodeAt(next) === CLOSE_MAP) return found;
    if (text.charCodeAt(next) !== COMMA) throw notJson();
    i = skipSpace(text, next + 1);
  }
}

function keyOf(text: string, start: number, end: number): string {
  const inside = text.slice(start + 1, end - 1);
  if (!inside.includes("\\")) return inside;
  try {
    return JSON.parse(text.slice(start, end)) as string;
  } catch {
    throw notJson();
  }
}

function endOfValue(text: string, start: number): number {
  const first = text.charCodeAt(start);
  if (first === QUOTE) return endOfString(text, start);
  if (first !== OPEN_MAP && first !== OPEN_LIST) return endOfWord(text, start);
  let depth = 0;
  for (let i = start; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === QUOTE) i = endOfString(text, i) - 1;
    else if (unit === OPEN_MAP || unit === OPEN_LIST) depth++;
    else if ((unit === CLOSE_MAP || unit === CLOSE_LIST) && --depth === 0) return i + 1;
  }
  throw notJson();
}

const WORD = /[-+.\w]+/y;

function endOfWord(text: string, start: number): number {
  WORD.lastIndex = start;
  if (!WORD.test(text)) throw notJson();
  return WORD.lastIndex;
}

/** The engine's own search steps over a body many times faster than a loop. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let from = end;
    while (text.charCodeAt(from - 1) === BACKSLASH) from--;
    if ((end - from) % 2 === 0) return end + 1;
  }
  throw notJson();
}

function skipSpace(text: string, at: number): number {
  let i = at;
  while (isSpace(text.charCodeAt(i))) i++;
  return i;
}

function isSpace(unit: number): boolean {
  return unit === 0x20 || unit === 0x0a || unit === 0x09 || unit === 0x0d;
}

function notJson(): ProtocolError {
  return new ProtocolError("malformed", "envelope", "not JSON, or it ends too early");
}
