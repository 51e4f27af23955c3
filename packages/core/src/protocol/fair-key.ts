/**
 * The key by which a queue shares its workers fairly, such as a tenant: a header of the message, read from its envelope as text.
 *
 * Brokers look for it in every message of a fair queue, so the envelope is not parsed: inside a JSON string a quote is escaped, so the
 * name with its quotes can only be a member's name, or a whole string that no colon follows. Among brokers a key is what stands between
 * the quotes, escapes and all: Celery and we escape alike. `stores/redis/lua/fair-reserve.lua` reads it the same way.
 */
import { quote } from "./json.ts";

/** Python sets it with `headers={"fair_key": "acme"}`: a text, or a whole number. */
export const FAIR_KEY_HEADER = "fair_key";

/** Of the escaped text. A longer one, which only a foreign producer can write, counts as none. */
const LENGTH_MAX = 200;
const MARK = `"${FAIR_KEY_HEADER}"`;
const NO_KEY = "";

/** A key as brokers name it: JSON text without its quotes; "" for messages without one. */
export type FairKey = string & { readonly __fairKey: unique symbol };

/** Undefined for what cannot be a key: an empty text, one that is too long, control characters, other kinds of values. */
export function toFairKey(value: unknown): FairKey | undefined {
  const text = Number.isSafeInteger(value) ? String(value) : value;
  if (typeof text !== "string" || text === "" || /\p{Cc}/u.test(text)) return undefined;
  const escaped = quote(text).slice(1, -1);
  return escaped.length > LENGTH_MAX ? undefined : (escaped as FairKey);
}

/** As its caller wrote it; "" for none. */
export function fairKeyText(key: FairKey): string {
  try {
    return JSON.parse(`"${key}"`) as string;
  } catch {
    return key; // a foreign producer's broken escape
  }
}

/** "" when there is none. */
export function fairKeyIn(envelope: string | Uint8Array): FairKey {
  const text = typeof envelope === "string" ? envelope : Buffer.from(envelope).toString("utf8");
  for (let at = text.indexOf(MARK); at !== -1; at = text.indexOf(MARK, at + 1)) {
    const value = /^\s*:\s*/.exec(text.slice(at + MARK.length, at + MARK.length + 64));
    if (value === null) continue; // a text of that name, not a member
    const start = at + MARK.length + value[0].length;
    return (text[start] === '"' ? stringAt(text, start + 1) : numberAt(text, start)) as FairKey;
  }
  return NO_KEY as FairKey;
}

function stringAt(text: string, start: number): string {
  for (let i = start; i <= start + LENGTH_MAX; i += 1) {
    const unit = text.charCodeAt(i);
    if (unit === 0x22) return text.slice(start, i);
    if (unit === 0x5c) i += 1;
    else if (unit < 0x20 || unit === 0x7f || Number.isNaN(unit)) return NO_KEY;
  }
  return NO_KEY;
}

function numberAt(text: string, start: number): string {
  return /^(-?\d{1,30})\s*[,}]/.exec(text.slice(start, start + 40))?.[1] ?? NO_KEY;
}
