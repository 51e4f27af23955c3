import fc from "fast-check";
import { expect, test } from "vitest";

import { Fifo } from "./fifo.ts";

test("behaves as a list with push and shift, whatever the order of calls", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 4000 }), (pushes) => {
      const fifo = new Fifo<number>();
      const model: number[] = [];
      for (const [index, isPush] of pushes.entries()) {
        if (isPush) {
          fifo.push(index);
          model.push(index);
        } else expect(fifo.shift()).toBe(model.shift());
        expect(fifo.size).toBe(model.length);
      }
      expect(fifo.clear()).toEqual(model);
      expect(fifo.size).toBe(0);
    }),
    { numRuns: 50 },
  );
});
