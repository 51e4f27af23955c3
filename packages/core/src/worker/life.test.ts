import * as fc from "fast-check";
import { expect, test } from "vitest";
import { isStopping, type LifeEvent, nextState, type WorkerState } from "./life.ts";

const EVENTS: readonly LifeEvent[] = ["start", "ready", "quiet", "resume", "warm", "soft", "cold", "waited", "ended"];

function after(events: readonly LifeEvent[], hasSoft = false): WorkerState {
  return events.reduce<WorkerState>((state, event) => nextState(state, event, hasSoft), "new");
}

test("a worker starts, is made quiet and resumed, and stops", () => {
  expect(after(["start"])).toBe("starting");
  expect(after(["start", "ready"])).toBe("running");
  expect(after(["start", "ready", "quiet"])).toBe("quiet");
  expect(after(["start", "ready", "quiet", "resume"])).toBe("running");
  expect(after(["start", "ready", "quiet", "warm"])).toBe("warm");
  expect(after(["start", "ready", "warm", "ended"])).toBe("stopped");
});

test("asked again, a stop hurries: warm to soft if there is one, else to cold", () => {
  expect(after(["start", "ready", "warm", "warm"])).toBe("cold");
  expect(after(["start", "ready", "warm", "warm"], true)).toBe("soft");
  expect(after(["start", "ready", "warm", "soft"], true)).toBe("soft");
  expect(after(["start", "ready", "warm", "warm", "warm"], true)).toBe("cold");
  expect(after(["start", "ready", "soft", "soft"], true)).toBe("cold");
  expect(after(["start", "ready", "soft"])).toBe("cold");
  expect(after(["start", "ready", "soft", "warm"], true)).toBe("cold");
});

test("when the wait is over it is cold, not soft", () => {
  expect(after(["start", "ready", "warm", "waited"], true)).toBe("cold");
  expect(after(["start", "ready", "soft", "waited"], true)).toBe("cold");
});

test("whatever happens, a worker that stops takes nothing again and never waits longer than before", () => {
  const order: readonly WorkerState[] = ["warm", "soft", "cold", "stopped"];
  const events = fc.array(fc.constantFrom(...EVENTS), { maxLength: 20 });
  fc.assert(
    fc.property(events, fc.boolean(), (history, hasSoft) => {
      let state: WorkerState = "new";
      for (const event of history) {
        const next = nextState(state, event, hasSoft);
        if (isStopping(state) || state === "stopped") expect(order.indexOf(next)).toBeGreaterThanOrEqual(order.indexOf(state));
        state = next;
      }
    }),
  );
});
