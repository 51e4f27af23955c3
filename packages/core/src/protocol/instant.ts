/** Instants as the wire writes them: ISO-8601 with an offset and six digits (celery-protocol 13). */
import { ProtocolError } from "./errors.ts";
import type { WireInstant } from "./message.ts";

const ISO = /^(\d{4})-?(\d\d)-?(\d\d)(?:[T ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?)?)?\s*(Z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?$/i;

/** Lenient as Python's reader: without an offset it is UTC. @throws ProtocolError */
export function parseInstant(text: string, where = "instant"): WireInstant {
  const found = ISO.exec(text);
  if (!found) throw new ProtocolError("malformed", where, "not an ISO-8601 date and time");
  const [, year, month, day, hour = "0", minute = "0", second = "0", fraction = "", offset = "Z"] = found;
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day)); // Date.UTC takes the years 0 to 99 for 1900 to 1999
  const wholeMs = date.setUTCHours(Number(hour), Number(minute), Number(second));
  if (
    Number(year) === 0 ||
    date.getUTCMonth() !== Number(month) - 1 ||
    date.getUTCDate() !== Number(day) ||
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

const YEAR_1 = Date.parse("0001-01-01T00:00:00.000Z");
const YEAR_9999 = Date.parse("9999-12-31T23:59:59.999Z");

/** Many results are written in one millisecond. */
let last: WireInstant = { at: Number.NaN, text: "" };

/** `2026-11-21T02:15:52.024000+00:00`. @param at ms since 1970 @throws ProtocolError outside of the years 1 to 9999, which are all that Python has. */
export function formatInstant(at: number): WireInstant {
  const ms = Math.round(at);
  if (ms === last.at) return last;
  if (!(ms >= YEAR_1 && ms <= YEAR_9999)) throw new ProtocolError("unsupported", "instant", "not within the years 1 to 9999");
  last = { at: ms, text: `${new Date(ms).toISOString().slice(0, -1)}000+00:00` };
  return last;
}
