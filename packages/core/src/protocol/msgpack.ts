/**
 * msgpack as kombu has it: texts and bytes apart, no extension types, so that dates, decimals and ids go as text
 * (celery-protocol 1.7).
 */
import { decode, encode } from "@msgpack/msgpack";
import { asBuffer } from "./bytes.ts";
import { checkedTree } from "./decoded-tree.ts";
import { ProtocolError } from "./errors.ts";
import { decodeJson, encodeJson } from "./json.ts";
import { TextValue, WireDate } from "./json-values.ts";
import type { DecodeLimits } from "./limits.ts";

const DEEPEST = 250;

/** @throws ProtocolError with the path to a value that cannot be written. */
export function encodeMsgpack(value: unknown): Uint8Array {
  const plain = simplified(decodeJson(encodeJson(value, { where: "body" }))); // once there and back, and only values of few kinds are left
  return encode(plain, { useBigInt64: true, maxDepth: DEEPEST });
}

function simplified(value: unknown): unknown {
  if (typeof value === "bigint") return checkedInteger(value);
  if (typeof value === "string") return checkedText(value);
  if (typeof value !== "object" || value === null || Buffer.isBuffer(value)) return value;
  if (Array.isArray(value)) return value.map(simplified);
  if (value instanceof WireDate) return value.text;
  if (value instanceof TextValue) return value.text;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [checkedText(key), simplified(item)]));
}

/** Half of a surrogate pair has no UTF-8: Python could not read the message. */
function checkedText(text: string): string {
  if (!/\p{Surrogate}/u.test(text)) return text;
  throw new ProtocolError("unsupported", "body", "msgpack cannot hold a text with half of a surrogate pair in it");
}

function checkedInteger(value: bigint): bigint {
  if (BigInt.asIntN(64, value) === value || BigInt.asUintN(64, value) === value) return value;
  throw new ProtocolError("unsupported", "body", "msgpack has no integers beyond 64 bits: use json");
}

/** @throws ProtocolError */
export function decodeMsgpack(data: Uint8Array, limits: DecodeLimits): unknown {
  const bytes = asBuffer(data);
  checkShape(bytes, limits.maxDepth);
  return checkedTree(decode(bytes, { useBigInt64: true }), limits.maxDepth, "body");
}

/**
 * Steps through the whole text before anything is made of it: the library makes room for as many elements as a list
 * claims to have, for each of lists in lists, before it sees that they are not there.
 */
function checkShape(bytes: Buffer, maxDepth: number): void {
  const pending: number[] = []; // elements still to come, of each container around `at`
  let left = 1;
  let at = 0;
  while (left > 0 || pending.length > 0) {
    if (left === 0) {
      left = pending.pop() as number;
      continue;
    }
    left--;
    if (at >= bytes.length) throw malformed();
    const { size, items } = elementAt(bytes, at);
    at += size;
    if (at > bytes.length || items > bytes.length - at) throw malformed();
    if (items === 0) continue;
    if (pending.length >= maxDepth) throw new ProtocolError("malformed", "body", `nested more than ${maxDepth} deep`);
    pending.push(left);
    left = items;
  }
  if (at !== bytes.length) throw malformed();
}

interface Element {
  /** Bytes, without those of the elements in it. */
  readonly size: number;
  /** Elements in it: for a map twice its pairs. */
  readonly items: number;
}

/** The table of formats of the msgpack specification. */
function elementAt(bytes: Buffer, at: number): Element {
  const first = bytes[at] as number;
  if (first <= 0x7f || first >= 0xe0) return { size: 1, items: 0 };
  if (first <= 0x8f) return { size: 1, items: (first & 0x0f) * 2 };
  if (first <= 0x9f) return { size: 1, items: first & 0x0f };
  if (first <= 0xbf) return { size: 1 + (first & 0x1f), items: 0 };
  const fixed = FIXED.get(first);
  if (fixed !== undefined) return { size: fixed, items: 0 };
  const counted = COUNTED.get(first);
  if (counted === undefined) throw malformed(); // 0xc1, which is never used, and the extension types
  if (at + 1 + counted.width > bytes.length) throw malformed();
  const count = bytes.readUIntBE(at + 1, counted.width);
  return { size: 1 + counted.width + count * counted.bytes, items: count * counted.items };
}

/** nil, false, true, floats and integers: first byte -> bytes in all. */
const FIXED: ReadonlyMap<number, number> = new Map([
  [0xc0, 1], [0xc2, 1], [0xc3, 1], [0xca, 5], [0xcb, 9],
  [0xcc, 2], [0xcd, 3], [0xce, 5], [0xcf, 9], [0xd0, 2], [0xd1, 3], [0xd2, 5], [0xd3, 9],
]); // prettier-ignore

/** bin, str, array and map: first byte -> width of the count, and what is counted. */
const COUNTED: ReadonlyMap<number, { readonly width: number; readonly bytes: number; readonly items: number }> = new Map([
  [0xc4, { width: 1, bytes: 1, items: 0 }], [0xc5, { width: 2, bytes: 1, items: 0 }], [0xc6, { width: 4, bytes: 1, items: 0 }],
  [0xd9, { width: 1, bytes: 1, items: 0 }], [0xda, { width: 2, bytes: 1, items: 0 }], [0xdb, { width: 4, bytes: 1, items: 0 }],
  [0xdc, { width: 2, bytes: 0, items: 1 }], [0xdd, { width: 4, bytes: 0, items: 1 }],
  [0xde, { width: 2, bytes: 0, items: 2 }], [0xdf, { width: 4, bytes: 0, items: 2 }],
]); // prettier-ignore

function malformed(): ProtocolError {
  return new ProtocolError("malformed", "body", "not msgpack, or of types that Celery does not use");
}
