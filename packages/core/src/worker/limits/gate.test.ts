/** What a gate owes to others: places and starts go back, whatever is on the way. */
import { expect, test } from "vitest";

import type { Limits, Turns } from "../../brokers/limits.ts";
import { silentLogger } from "../../shared/log.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { LoanCredit } from "../credit.ts";
import { Observers } from "../observer.ts";
import type { Request } from "../request.ts";
import { LimitGate } from "./gate.ts";
import type { KnownLimits } from "./known-limits.ts";

const TURNS: Turns = { moved: 0, nextTurnInMs: undefined };
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function gateWith(limits: Partial<Limits>): LimitGate {
  const unused = (): never => {
    throw new Error("not in these tests");
  };
  return new LimitGate({
    limits: limits as Limits,
    known: { any: true, stop: () => undefined, onRead: () => undefined } as unknown as KnownLimits,
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
  });
}

const holder = (loan: string): Request => ({ limits: ["l"], isHeld: true, delivery: { loan, queue: "q" } }) as unknown as Request;

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
