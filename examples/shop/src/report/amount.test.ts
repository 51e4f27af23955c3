import * as fc from "fast-check";
import { expect, test } from "vitest";
import { formatAmount, parseAmount } from "./amount.ts";

test.each([
  ["12.50", "12.50"],
  ["-3", "-3"],
  ["+0.000000001", "0.000000001"],
  [" $1,234,567.80 ", "1234567.80"],
  ["-€ 5", "-5"],
  ["-0.05", "-0.05"],
  ["999999999999999", "999999999999999"],
])("%s is read as %s", (text, expected) => {
  const amount = parseAmount(text);
  expect(amount && formatAmount(amount.billionths, amount.decimals)).toBe(expected);
});

test.each(["", "-", "1,5", "12,34.5", "1.2.3", "1e5", "0x10", "NaN", "twelve", "1.0000000001", "9999999999999999", "--1", "1 000"])(
  "%j is not guessed at",
  (text) => expect(parseAmount(text)).toBeUndefined(),
);

test("what is written comes back, digit for digit", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(10n ** 24n) + 1n, max: 10n ** 24n - 1n }), (billionths) => {
      expect(parseAmount(formatAmount(billionths, 9))?.billionths).toBe(billionths);
    }),
  );
});

test("ten cents and twenty cents are thirty cents", () => {
  const sum = (parseAmount("0.1")?.billionths ?? 0n) + (parseAmount("0.2")?.billionths ?? 0n);
  expect(formatAmount(sum, 1)).toBe("0.3");
});
