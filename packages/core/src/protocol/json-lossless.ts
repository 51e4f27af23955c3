/**
 * The JSON that JSON.parse refuses or rounds: NaN and Infinity as bare words, and integers beyond 2^53, which become
 * bigints. Slower by far, so only for texts that hold such things. The caller has checked the depth: this recurses.
 */
import { ProtocolError } from "./errors.ts";

/** @throws ProtocolError */
export function parseLossless(text: string, where: string): unknown {
  const reader: Reader = { text, at: 0, where };
  const value = readValue(reader);
  skipSpace(reader);
  if (reader.at !== text.length) throw malformed(reader);
  return value;
}

interface Reader {
  readonly text: string;
  readonly where: string;
  at: number;
}

const WORDS: ReadonlyMap<string, readonly [word: string, value: unknown]> = new Map<string, readonly [string, unknown]>([
  ["n", ["null", null]],
  ["t", ["true", true]],
  ["f", ["false", false]],
  ["N", ["NaN", Number.NaN]],
  ["I", ["Infinity", Infinity]],
]);

function readValue(reader: Reader): unknown {
  skipSpace(reader);
  const { text, at } = reader;
  const first = text[at];
  if (first === '"') return readString(reader);
  if (first === "{") return readMap(reader);
  if (first === "[") return readList(reader);
  const word = WORDS.get(first ?? "");
  if (word === undefined) return readNumber(reader);
  if (!text.startsWith(word[0], at)) throw malformed(reader);
  reader.at += word[0].length;
  return word[1];
}

function readMap(reader: Reader): Record<string, unknown> {
  const map: Record<string, unknown> = {};
  if (opens(reader, "}")) return map;
  do {
    skipSpace(reader);
    const key = readString(reader);
    skipSpace(reader);
    if (reader.text[reader.at++] !== ":") throw malformed(reader);
    const value = readValue(reader);
    if (key === "__proto__") Object.defineProperty(map, key, { value, enumerable: true, configurable: true, writable: true });
    else map[key] = value;
  } while (continues(reader, "}"));
  return map;
}

function readList(reader: Reader): unknown[] {
  const list: unknown[] = [];
  if (opens(reader, "]")) return list;
  do list.push(readValue(reader));
  while (continues(reader, "]"));
  return list;
}

/** Steps over the opening bracket; true when the closing one follows at once. */
function opens(reader: Reader, close: string): boolean {
  reader.at++;
  skipSpace(reader);
  if (reader.text[reader.at] !== close) return false;
  reader.at++;
  return true;
}

/** Steps over a comma or the closing bracket; false after the bracket. */
function continues(reader: Reader, close: string): boolean {
  skipSpace(reader);
  const unit = reader.text[reader.at++];
  if (unit !== "," && unit !== close) throw malformed(reader);
  return unit === ",";
}

const NOT_PLAIN = /[\\\x00-\x1f]/;

function readString(reader: Reader): string {
  const { text, at: start } = reader;
  if (text[start] !== '"') throw malformed(reader);
  let end = text.indexOf('"', start + 1);
  while (end >= 0 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
  if (end < 0) throw malformed(reader);
  reader.at = end + 1;
  const inside = text.slice(start + 1, end);
  if (!NOT_PLAIN.test(inside)) return inside;
  try {
    return JSON.parse(text.slice(start, end + 1)) as string;
  } catch (error) {
    throw malformed(reader, error);
  }
}

/** Whether an odd number of backslashes stands before it. */
function isEscaped(text: string, quoteAt: number): boolean {
  let from = quoteAt;
  while (text[from - 1] === "\\") from--;
  return (quoteAt - from) % 2 === 1;
}

const NUMBER = /-?(?:Infinity|(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?)/y;
/** As in Python (sys.int_info): the time to read an integer grows with the square of its digits. */
const MOST_DIGITS = 4300;

function readNumber(reader: Reader): number | bigint {
  NUMBER.lastIndex = reader.at;
  const [token, fraction, exponent] = NUMBER.exec(reader.text) ?? [];
  if (token === undefined) throw malformed(reader);
  reader.at += token.length;
  const value = Number(token);
  if (fraction !== undefined || exponent !== undefined || Number.isSafeInteger(value) || token === "-Infinity") return value;
  if (token.length > MOST_DIGITS) throw new ProtocolError("tooLarge", reader.where, `an integer of more than ${MOST_DIGITS} digits`);
  return BigInt(token);
}

const SPACE = /[ \t\n\r]*/y;

function skipSpace(reader: Reader): void {
  SPACE.lastIndex = reader.at;
  SPACE.test(reader.text);
  reader.at = SPACE.lastIndex;
}

function malformed({ where, at }: Reader, cause?: unknown): ProtocolError {
  return new ProtocolError("malformed", where, `not JSON, near character ${at}`, { cause });
}
