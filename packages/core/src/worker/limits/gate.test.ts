/** What a gate owes to others: places and starts go back, whatever is on the way; and what it counts meanwhile. */
import { expect, test } from "vitest";

import type { Admissions, Limits, TurnOptions, Turns } from "../../brokers/limits.ts";
import { silentLogger } from "../../shared/log.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { LoanCredit } from "../credit.ts";
import { Observers } from "../observer.ts";
import type { Request } from "../request.ts";
import { type GateDeps, LimitGate } from "./gate.ts";
import type { KnownLimits } from "./known-limits.ts";

const TURNS: Turns = { moved: 0, nextTurnInMs: undefined };
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function gateWith(limits: Partial<Limits>, deps: Partial<GateDeps> = {}): LimitGate {
  const unused = (): never => {
    throw new Error("not in these tests");
  };
  return new LimitGate({
    limits: limits as Limits,
    known: { any: true, idsOf: () => ["l"], stop: () => undefined, onRead: () => undefined } as unknown as KnownLimits,
    owner: "w",
    queues: ["q"],
    paused: { isAny: false, has: () => false, onChange: () => () => undefined },
    clock: new FakeClock(),
    random: () => 0.5,
    logger: silentLogger,
    credit: new LoanCredit({ busy: 1, held: 1 }),
    observers: new Observers([], silentLogger),
    pass: unused,
    postpone: unused,
    putBack: unused,
    ...deps,
  });
}

/** It has come: it has its loan, and counts as busy. */
function received(id: string, credit: LoanCredit): Request {
  credit.take();
  return { isHeld: false, received: { id }, delivery: { loan: id, queue: "q" } } as unknown as Request;
}

const holder = (loan: string): Request =>
  ({ limits: ["l"], isHeld: true, received: { id: loan }, delivery: { loan, queue: "q" } }) as unknown as Request;

// The next place may become free in any of the few steps in which the last giving back comes to its end.
for (let steps = 0; steps < 12; steps++) {
  test(`a place that is free ${steps} steps after the broker's answer goes back too`, async () => {
    const released: string[] = [];
    let answer: ((turns: Turns) => void) | undefined;
    const gate = gateWith({
      release: async (_, deliveries) => {
        released.push(...deliveries.map(({ loan }) => String(loan)));
        return released.length > 1 ? TURNS : await new Promise<Turns>((resolve) => (answer = resolve));
      },
    });
    gate.left(holder("a"));
    await turn();
    answer?.(TURNS);
    for (let i = 0; i < steps; i++) await Promise.resolve();
    gate.left(holder("b"));
    await turn();
    await turn();
    expect(released).toEqual(["a", "b"]);
  });
}

test("what may start and has its answer after a stop goes back with its place, and has no slot any more", async () => {
  const credit = new LoanCredit({ busy: 10, held: 10 });
  const back: Request[] = [];
  let answer: ((told: Admissions) => void) | undefined;
  const gate = gateWith(
    { admit: () => new Promise((resolve) => (answer = resolve)) },
    { credit, putBack: (requests) => void back.push(...requests) },
  );
  const requests = ["now", "soon", "waits"].map((id) => received(id, credit));
  for (const request of requests) gate.ask(request);
  gate.flush();
  expect(gate.clear()).toEqual([]);
  answer?.({
    answers: [{ kind: "admitted", startsInMs: 0, isHeld: true }, { kind: "admitted", startsInMs: 100, isHeld: false }, { kind: "waits" }],
    nextTurnInMs: undefined,
  });
  await turn();
  expect(back).toEqual(requests.slice(0, 2));
  expect(back.map(({ isHeld }) => isHeld)).toEqual([true, false]);
  expect([credit.busy, credit.held]).toEqual([0, 2]);
});

test("a start that is a moment away has no slot until then, and takes one then", async () => {
  const clock = new FakeClock();
  const credit = new LoanCredit({ busy: 10, held: 10 });
  const passed: Request[] = [];
  const admit = async (): Promise<Admissions> => ({
    answers: [{ kind: "admitted", startsInMs: 100, isHeld: false }],
    nextTurnInMs: undefined,
  });
  const gate = gateWith({ admit }, { clock, credit, pass: (requests) => void passed.push(...requests) });
  const request = received("soon", credit);
  gate.ask(request);
  gate.flush();
  await clock.advance(99);
  expect([passed, credit.busy]).toEqual([[], 0]);
  await clock.advance(1);
  expect([passed, credit.busy]).toEqual([[request], 1]);
});

test("turns are given in queues that are not paused, also by what goes back", async () => {
  const clock = new FakeClock();
  const asked: (readonly string[])[] = [];
  const note = async (_: unknown, ...rest: readonly unknown[]): Promise<Turns> => {
    asked.push((rest.at(-1) as TurnOptions).queues);
    return { moved: 0, nextTurnInMs: 500 };
  };
  const paused = { isAny: true, has: (queue: string) => queue === "paused", onChange: () => () => undefined };
  const gate = gateWith({ advance: note, release: note, giveUp: note }, { clock, queues: ["q", "paused"], paused });
  gate.left(holder("a"));
  gate.giveUp(holder("b"));
  await clock.advance(1000);
  await gate.stop();
  expect(asked.length).toBeGreaterThanOrEqual(3);
  expect(asked).toEqual(asked.map(() => ["q"]));
});
