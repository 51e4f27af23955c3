import { randomFillSync } from "node:crypto";

/**
 * Random ids (UUID version 4) from a pool of random bytes: one call into the kernel for 256 of them.
 * `crypto.randomUUID` costs about 4x as much where two are needed per task.
 */
const POOL_IDS = 256;
const pool = new Uint8Array(POOL_IDS * 16);
let next = pool.length;

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const hex = (at: number): string => HEX[pool[at] as number] as string;

/** A fresh UUID v4, lower case with dashes, as Celery writes task ids. */
export function newId(): string {
  if (next === pool.length) {
    randomFillSync(pool);
    next = 0;
  }
  const i = next;
  next += 16;
  pool[i + 6] = ((pool[i + 6] as number) & 0x0f) | 0x40;
  pool[i + 8] = ((pool[i + 8] as number) & 0x3f) | 0x80;
  return (
    hex(i) + hex(i + 1) + hex(i + 2) + hex(i + 3) + "-" + hex(i + 4) + hex(i + 5) + "-" + hex(i + 6) + hex(i + 7) +
    "-" + hex(i + 8) + hex(i + 9) + "-" + hex(i + 10) + hex(i + 11) + hex(i + 12) + hex(i + 13) + hex(i + 14) + hex(i + 15)
  ); // prettier-ignore
}
