import { expect, test } from "vitest";

import { Crew } from "./crew.ts";
import type { Outcome } from "./outcome.ts";
import type { Request } from "./request.ts";
import type { RunHome } from "./run-facts.ts";

/** A message that was made of two calls, and what becomes of all three. */
function aggregate(carried: Partial<Request> = {}) {
  const ends: (readonly Outcome[])[] = [];
  const done: Outcome[] = [];
  const lead = { done: (outcome: Outcome) => done.push(outcome), ...carried } as unknown as Request;
  let settle = (): void => undefined;
  const settled = new Promise<void>((resolve) => (settle = resolve));
  const end = async (outcomes: readonly Outcome[]): Promise<void> => {
    ends.push(outcomes);
    await settled;
  };
  const items = [{}, {}] as unknown as readonly Request[];
  return { crew: new Crew([lead], {} as RunHome, { items, end, isLastLoss: () => false }), ends, done, settle };
}

const kinds = (outcomes: readonly Outcome[] | undefined): unknown => outcomes?.map(({ kind }) => kind);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("calls are settled once, by the first end of their run", async () => {
  const { crew, ends, done, settle } = aggregate();
  crew.done({ kind: "failed", error: new Error("it was terminated") });
  crew.done({ kind: "succeeded", value: null }); // what the body that was given up came to all the same
  settle();
  await turn();
  expect(ends.map(kinds)).toEqual([["failed", "failed"]]);
  expect(kinds(done)).toEqual(["succeeded"]);
});

test("a message that comes back is not ended call by call, and one that was acknowledged before it began is", async () => {
  const late = aggregate();
  late.crew.done({ kind: "interrupted" });
  await turn();
  expect([kinds(late.done), late.ends]).toEqual([["interrupted"], []]);
  const early = aggregate({ isAcked: true });
  early.crew.done({ kind: "interrupted" });
  early.settle();
  await turn();
  expect(early.ends.map(kinds)).toEqual([["interrupted", "interrupted"]]);
  expect(kinds(early.done)).toEqual(["interrupted"]);
});
