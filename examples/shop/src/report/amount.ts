/**
 * Decimal numbers without rounding: whole billionths in a bigint. Floating point would make
 * 0.1 + 0.2 something else than 0.3, and a column of prices end a cent off.
 */
export interface Amount {
  readonly billionths: bigint;
  /** As many as were written, 0 to 9: `12.50` has two. */
  readonly decimals: number;
}

const PLAIN = /^([+-]?)(\d{1,15})(?:\.(\d{1,9}))?$/;
const GROUPED = /^[+-]?\d{1,3}(?:,\d{3})+(?:\.\d{1,9})?$/;
const CURRENCY = /^([+-]?)[$€£¥]\s?/;

/**
 * Reads `1234.5`, `-3`, `$12.50` and, where commas can only group thousands, `1,234.50`.
 * Undefined for anything else: `1,5` may be 15 tenths or 15, and a guess would be wrong by a factor of ten.
 */
export function parseAmount(text: string): Amount | undefined {
  const bare = text.trim().replace(CURRENCY, "$1");
  const match = PLAIN.exec(GROUPED.test(bare) ? bare.replaceAll(",", "") : bare);
  if (!match) return undefined;
  const [, sign, whole, fraction = ""] = match;
  const size = BigInt(`${whole}${fraction.padEnd(9, "0")}`);
  return { billionths: sign === "-" ? -size : size, decimals: fraction.length };
}

/** The number in digits, with exactly `decimals` of them after the point: `-1234.50`. */
export function formatAmount(billionths: bigint, decimals: number): string {
  const digits = (billionths < 0n ? -billionths : billionths).toString().padStart(10, "0");
  const fraction = digits.slice(-9, decimals - 9 || undefined);
  return `${billionths < 0n ? "-" : ""}${digits.slice(0, -9)}${decimals > 0 ? `.${fraction}` : ""}`;
}
