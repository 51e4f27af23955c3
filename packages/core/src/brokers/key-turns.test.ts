import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { type Seat, takeTurns } from "./key-turns.ts";

interface Named extends Seat {
  readonly key: string;
}

const seat = (key: string, waiting: number, weight = 1, open = waiting): Named => ({ key, weight, waiting, open, credit: 0 });

/** A ring that is taken from in batches, as brokers do: at most `want` seats are looked at unless that is all. */
class Ring {
  line: Named[];
  readonly taken: string[] = [];

  constructor(seats: readonly Named[]) {
    this.line = [...seats];
  }

  take(want: number): number {
    const before = this.taken.length;
    for (let left = want; left > 0 && this.line.length > 0; left = want - (this.taken.length - before)) {
      const first = this.line.splice(0, left);
      const isAll = this.line.length === 0;
      const { front, back } = takeTurns(first, isAll, left, ({ key }) => this.taken.push(key) > 0);
      this.line = [...front, ...this.line, ...back];
    }
    return this.taken.length - before;
  }
}

const seats = fc.array(
  fc.record({ waiting: fc.integer({ min: 1, max: 40 }), weight: fc.integer({ min: 1, max: 6 }), blocked: fc.integer({ min: 0, max: 9 }) }),
  { minLength: 1, maxLength: 12 },
);
const batches = fc.array(fc.integer({ min: 1, max: 25 }), { minLength: 1, maxLength: 30 });

describe("turns among keys", () => {
  test("each key gives as many messages as its weight, then it is the next one's turn", () => {
    const ring = new Ring([seat("a", 9, 3), seat("b", 9, 1), seat("c", 2, 2)]);
    ring.take(12);
    expect(ring.taken.join("")).toBe("aaabccaaabaa");
  });

  test("a turn that a batch interrupts is finished by the next", () => {
    const ring = new Ring([seat("a", 9, 3), seat("b", 9, 1)]);
    for (let i = 0; i < 8; i += 1) ring.take(1);
    expect(ring.taken.join("")).toBe("aaabaaab");
  });

  test("the order does not depend on how it is cut into batches", () => {
    fc.assert(
      fc.property(seats, batches, (drawn, sizes) => {
        const make = (): Ring => new Ring(drawn.map(({ waiting, weight }, i) => seat(String(i), waiting, weight)));
        const [cut, whole] = [make(), make()];
        for (const size of sizes) cut.take(size);
        whole.take(cut.taken.length);
        expect(cut.taken).toEqual(whole.taken);
      }),
    );
  });

  test("between two turns of a key no other key that has messages gives fewer or more than its weight", () => {
    fc.assert(
      fc.property(seats, batches, (drawn, sizes) => {
        const all = drawn.map(({ waiting, weight }, i) => seat(String(i), waiting, weight));
        const left = new Map(all.map(({ key, waiting }) => [key, waiting]));
        const ring = new Ring(all);
        for (const size of sizes) ring.take(size);
        // Round by round: every key that still has messages gives its weight, or all that it has.
        let at = 0;
        while (at < ring.taken.length) {
          for (const { key, weight } of all) {
            const gives = Math.min(weight, left.get(key) ?? 0);
            for (let i = 0; i < gives && at < ring.taken.length; i += 1) expect(ring.taken[at++]).toBe(key);
            left.set(key, (left.get(key) ?? 0) - gives);
          }
        }
      }),
    );
  });

  test("a key at its limit leaves the ring with its messages, and takes nobody's turn", () => {
    fc.assert(
      fc.property(seats, fc.integer({ min: 1, max: 500 }), (drawn, want) => {
        const all = drawn.map(({ waiting, weight, blocked }, i) => seat(String(i), waiting, weight, Math.max(0, waiting - blocked)));
        const open = all.reduce((sum, each) => sum + each.open, 0);
        const ring = new Ring(all);
        expect(ring.take(want)).toBe(Math.min(want, open));
        for (const { open: still } of ring.line) expect(still).toBeGreaterThanOrEqual(0);
        expect(ring.line.reduce((sum, each) => sum + each.open, 0)).toBe(open - ring.taken.length);
      }),
    );
  });

  test("who finds no room for a message stays in front, with its turn", () => {
    const line = [seat("a", 5, 3), seat("b", 5)];
    let room = 2;
    const { front, gone } = takeTurns(line, true, 10, () => room-- > 0);
    expect(front.map(({ key, credit, waiting }) => [key, credit, waiting])).toEqual([
      ["a", 1, 3],
      ["b", 0, 5],
    ]);
    expect(gone).toEqual([]);
  });
});
