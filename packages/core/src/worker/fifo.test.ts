import fc from "fast-check";
import { expect, test } from "vitest";

import { Fifo } from "./fifo.ts";

test("behaves as a list, whatever the order of calls", () => {
  const call = fc.oneof({ weight: 5, arbitrary: fc.boolean() }, { weight: 1, arbitrary: fc.nat(3) });
  fc.assert(
    fc.property(fc.array(call, { maxLength: 4000 }), (calls) => {
      const fifo = new Fifo<number>();
      const model: number[] = [];
      for (const [index, what] of calls.entries()) {
        if (what === true) {
          fifo.push(index);
          model.push(index);
        } else if (what === false) {
          expect(fifo.peek()).toBe(model[0]);
          expect(fifo.shift()).toBe(model.shift());
        } else expect(fifo.takeLast(what)).toEqual(model.splice(Math.max(0, model.length - what)));
        expect(fifo.size).toBe(model.length);
      }
      expect(fifo.clear()).toEqual(model);
      expect(fifo.size).toBe(0);
    }),
    { numRuns: 50 },
  );
});
