import fc from "fast-check";
import { expect, test } from "vitest";
import { Deque } from "./deque.ts";

test("a deque does what an array does at its ends", () => {
  const step = fc.constantFrom("pushBack", "pushFront", "takeFront", "takeFront", "pushBack", "clear");
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: "max" }), (steps) => {
      const deque = new Deque<number>();
      let model: number[] = [];
      for (const [at, one] of steps.entries()) {
        if (one === "pushBack") {
          deque.pushBack(at);
          model.push(at);
        } else if (one === "pushFront") {
          deque.pushFront(at);
          model.unshift(at);
        } else if (one === "takeFront") {
          expect(deque.takeFront()).toBe(model.shift());
        } else if (at % 10 === 0) {
          deque.clear();
          model = [];
        }
        expect(deque.size).toBe(model.length);
        expect(deque.peek()).toBe(model[0]);
      }
    }),
  );
});
