/** What becomes of the lock of a unique task, by how its task goes on. */
import { describe, expect, test } from "vitest";

import type { Delivery, LoanEnd } from "../brokers/broker.ts";
import type { ReceivedTask } from "../protocol/task-message.ts";
import { UNIQUE_HEADER, type UniqueMode, uniqueText } from "../protocol/unique.ts";
import type { Outcome } from "./outcome.ts";
import { isUniqueUntilStarted, lockAtStart, planLock } from "./unique-plan.ts";

const TTL_MS = 60_000;
const delivery = {} as Delivery; // nobody looks into it
const ACK: LoanEnd = { kind: "ack" };

function received(mode?: UniqueMode): ReceivedTask {
  const rule = mode && { mode, name: "t:1", ttlMs: TTL_MS, waitMs: 0, maxWaitMs: 0 };
  const headers = rule === undefined ? {} : { [UNIQUE_HEADER]: uniqueText(rule) };
  return { id: "one", message: { headers } } as unknown as ReceivedTask;
}

const planned = (mode: UniqueMode | undefined, end: LoanEnd, outcome?: Partial<Outcome>): unknown =>
  planLock(received(mode), { delivery, end }, "q", outcome as Outcome | undefined);
const step = (what: object): object => ({ name: "t:1", taskId: "one", queue: "q", what });
const FREE = step({ kind: "free" });
const kept = (delayMs: number): object => step({ kind: "keep", ttlMs: TTL_MS + delayMs });

describe("at the end of a loan", () => {
  test.each(["done", "started", "debounce", "last"] as const)("%s: free when the task is over", (mode) => {
    expect(planned(mode, ACK, { kind: "succeeded" })).toEqual(FREE);
    expect(planned(mode, { kind: "deadLetter", record: {} as never }, { kind: "failed" } as never)).toEqual(FREE);
  });

  test.each(["done", "last"] as const)("%s: kept, and for longer by the wait, when it runs again as another message", (mode) => {
    expect(planned(mode, ACK, { kind: "retry", plan: { delayMs: 5000 } } as never)).toEqual(kept(5000));
    expect(planned(mode, ACK, { kind: "retry", plan: {} } as never)).toEqual(kept(0));
    expect(planned(mode, ACK, { kind: "snoozed", delayMs: 700.5 } as never)).toEqual(kept(701));
    expect(planned(mode, ACK, { kind: "yielded" } as never)).toEqual(kept(0));
  });

  test("a debounced one is free even then: it replaces nothing any more", () => {
    expect(planned("debounce", ACK, { kind: "retry", plan: { delayMs: 5000 } } as never)).toEqual(FREE);
  });

  test.each<LoanEnd>([{ kind: "requeue", to: "front" }, { kind: "putBack" }, { kind: "park", dueAt: 1 }])(
    "left as it is when the message goes back: %j",
    (end) => expect(planned("done", end, { kind: "retry", plan: { delayMs: 1 } } as never)).toBeUndefined(),
  );

  test("one that ends by itself, and a task without a lock, are left alone", () => {
    expect(planned("time", ACK, { kind: "succeeded" })).toBeUndefined();
    expect(planned(undefined, ACK, { kind: "succeeded" })).toBeUndefined();
  });
});

test("before a body: free where it is held until then, else the worker's own", () => {
  const own = step({ kind: "own", worker: "w" });
  const ofModes = (["started", "debounce", "done", "last"] as const).map((mode) => lockAtStart(received(mode), "q", "w"));
  expect(ofModes).toEqual([FREE, FREE, own, own]);
  expect(lockAtStart(received("time"), "q", "w")).toBeUndefined();
  expect((["started", "debounce", "done", "last", "time"] as const).map((mode) => isUniqueUntilStarted(received(mode)))).toEqual([
    true, false, false, false, false,
  ]); // prettier-ignore
});
