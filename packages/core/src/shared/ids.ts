import { randomFillSync } from "node:crypto";

/**
 * Random ids (UUID version 4) from a pool of random bytes: one call into the kernel for 256 of them.
 * `crypto.randomUUID` costs about 4x as much where two are needed per task.
 */
const POOL_IDS = 256;
const pool = new Uint8Array(POOL_IDS * 16);
let next = pool.length;

const HEX_DIGITS = Buffer.from("0123456789abcdef", "latin1");
/** Written anew for each id. Added up from its digits, an id would be a tree of twenty pieces. */
const text = Buffer.from("00000000-0000-4000-8000-000000000000", "latin1");
/** Where the two digits of each of the sixteen bytes stand in the text. */
const PLACES = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/** A fresh UUID v4, lower case with dashes, as Celery writes task ids. */
export function newId(): string {
  if (next === pool.length) {
    randomFillSync(pool);
    next = 0;
  }
  const from = next;
  next += 16;
  pool[from + 6] = ((pool[from + 6] as number) & 0x0f) | 0x40;
  pool[from + 8] = ((pool[from + 8] as number) & 0x3f) | 0x80;
  for (let i = 0; i < 16; i++) {
    const byte = pool[from + i] as number;
    const place = PLACES[i] as number;
    text[place] = HEX_DIGITS[byte >> 4] as number;
    text[place + 1] = HEX_DIGITS[byte & 15] as number;
  }
  return text.toString("latin1");
}
