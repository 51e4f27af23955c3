/** Instants as the wire writes them: ISO-8601 with an offset and six digits (celery-protocol 13). */
import { ProtocolError } from "./errors.ts";
import type { WireInstant } from "./message.ts";

const ISO = /^(\d{4})-?(\d\d)-?(\d\d)(?:[T ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?)?)?\s*(Z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?$/i;

/** Lenient as Python's reader: without an offset it is UTC. @throws ProtocolError */
export function parseInstant(text: string, where = "instant"): WireInstant {
  const found = ISO.exec(text);
  if (!found) throw new ProtocolError("malformed", where, "not an ISO-8601 date and time");
  const [, year, month, day, hour = "0", minute = "0", second = "0", fraction = "", offset = "Z"] = found;
  const wholeMs = Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second));
  const check = new Date(wholeMs);
  if (
    check.getUTCMonth() !== Number(month) - 1 ||
    check.getUTCDate() !== Number(day) ||
    Number(hour) > 23 ||
    Number(minute) > 59 ||
    Number(second) > 59
  ) {
    throw new ProtocolError("malformed", where, "there is no such date or time");
  }
  const at = wholeMs + Math.floor(Number(fraction.padEnd(3, "0").slice(0, 3))) - offsetMs(offset);
  return { at, text };
}

function offsetMs(offset: string): number {
  if (/^z$/i.test(offset)) return 0;
  const digits = offset.slice(1).replaceAll(":", "").padEnd(6, "0");
  const seconds = Number(digits.slice(0, 2)) * 3600 + Number(digits.slice(2, 4)) * 60 + Number(digits.slice(4, 6));
  return (offset.startsWith("-") ? -seconds : seconds) * 1000;
}

/** `2026-11-21T02:15:52.024000+00:00`. @param at ms since 1970 */
export function formatInstant(at: number): WireInstant {
  const ms = Math.round(at);
  return { at: ms, text: `${new Date(ms).toISOString().slice(0, -1)}000+00:00` };
}
