import fc from "fast-check";
import { expect, test } from "vitest";
import { takeFairly } from "./fair-take.ts";

/** What each of the lists gives, of so many it holds. */
function shares(sizes: readonly number[], want: number, turn = 0): readonly number[] {
  const left = [...sizes];
  const taken = takeFairly([...sizes.keys()], want, turn, (list, atMost) => {
    const count = Math.min(atMost, left[list] as number);
    left[list] = (left[list] as number) - count;
    return count;
  });
  const given = sizes.map((size, at) => size - (left[at] as number));
  expect(given.reduce((sum, count) => sum + count, 0)).toBe(taken);
  return given;
}

test("each gives its share, and what one cannot give the others do", () => {
  expect(shares([100, 100, 100], 9)).toEqual([3, 3, 3]);
  expect(shares([100, 1, 100], 9)).toEqual([4, 1, 4]);
  expect(shares([100, 0, 2], 10)).toEqual([8, 0, 2]);
});

test("the first list rotates, so that one slot is not always the same list's", () => {
  expect([0, 1, 2, 3].map((turn) => shares([5, 5, 5], 1, turn).indexOf(1))).toEqual([0, 1, 2, 0]);
});

test("nothing wanted or nothing there: nothing taken", () => {
  expect(shares([5, 5], 0)).toEqual([0, 0]);
  expect(shares([5, 5], -3)).toEqual([0, 0]);
  expect(shares([], 5)).toEqual([]);
});

test("all that is wanted comes while there is any, and no list gives less than its share without being empty", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(30), { minLength: 1, maxLength: 8 }), fc.nat(100), fc.nat(20), (sizes, want, turn) => {
      const given = shares(sizes, want, turn);
      const total = sizes.reduce((sum, size) => sum + size, 0);
      expect(given.reduce((sum, count) => sum + count, 0)).toBe(Math.min(want, total));
      const fair = Math.floor(want / sizes.length);
      for (const [at, size] of sizes.entries()) expect(given[at]).toBeGreaterThanOrEqual(Math.min(size, Math.max(0, fair - sizes.length)));
    }),
  );
});
