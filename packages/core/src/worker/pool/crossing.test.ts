import fc from "fast-check";
import { expect, test } from "vitest";
import { SoftTimeLimitExceeded, TaskRevokedError } from "../../protocol/celery-errors.ts";
import { toWireException } from "../../protocol/exception.ts";
import { parseInstant } from "../../protocol/instant.ts";
import { Decimal, PlainDate, PlainTime, Uuid, WireDate } from "../../protocol/json-values.ts";
import { LeaseLostError, type Outcome, WorkerStoppedError } from "../outcome.ts";
import { pack, packOutcome, packThrown, unpack, unpackOutcome, unpackThrown } from "./crossing.ts";

/** As between threads. */
const cross = (value: unknown): unknown => unpack(structuredClone(pack(value)));
const crossThrown = (thrown: unknown): unknown => unpackThrown(structuredClone(packThrown(thrown)));
const crossOutcome = (outcome: Outcome): Outcome => unpackOutcome(structuredClone(packOutcome(outcome, false)));

test("plain values cross as they are, and are not copied before", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(pack(value).value).toBe(value);
      expect(cross(value)).toEqual(value);
    }),
  );
});

test("values with a class of their own keep it, wherever they stand", () => {
  const date = new WireDate(parseInstant("2026-01-02T03:04:05.678901+02:00", "test"));
  const value = {
    list: [new Decimal("1.10"), { day: new PlainDate("2026-02-28"), at: new PlainTime("12:30:45.123456") }],
    id: new Uuid("a"),
    date,
  };
  const there = cross(value) as typeof value;
  expect(there).toEqual(value);
  expect(there.list[0]).toBeInstanceOf(Decimal);
  expect(there.date.text).toBe(date.text);
  expect(value.list[0]).toBeInstanceOf(Decimal); // the original is as it was
});

test("bytes cross alone, without the pool that they are a piece of, and can be moved", () => {
  const bytes = Buffer.from("abc");
  const transfer: ArrayBuffer[] = [];
  const packed = pack([bytes, new Uint8Array([1, 2])], transfer);
  expect(transfer.map(({ byteLength }) => byteLength)).toEqual([3, 2]);
  const [there, other] = unpack(structuredClone(packed, { transfer })) as [Buffer, Uint8Array];
  expect(Buffer.isBuffer(there) && there.toString()).toBe("abc");
  expect([...other]).toEqual([1, 2]);
  expect(bytes.toString()).toBe("abc");
});

test("objects of classes become what JSON would make of them", () => {
  class Money {
    toJSON(): unknown {
      return { cents: 5 };
    }
  }
  class Point {
    readonly x = 1;
  }
  expect(cross([new Money(), new Point()])).toEqual([{ cents: 5 }, { x: 1 }]);
});

test("a key that is __proto__ stays a key", () => {
  const value: unknown = JSON.parse('{"__proto__": {"polluted": true}, "more": 1}');
  Object.assign(value as object, { exact: new Decimal("1") });
  const there = cross(value) as Record<string, unknown>;
  expect(Object.keys(there)).toEqual(["__proto__", "more", "exact"]);
  expect(there["polluted"]).toBeUndefined();
});

test("a value that holds itself is refused", () => {
  const loop: unknown[] = [];
  loop.push(loop);
  expect(() => pack(loop)).toThrow(/holds itself/);
});

test("an error crosses with its name, text and stack, and as Python calls it", () => {
  const error = new RangeError("too far");
  const there = crossThrown(error) as Error;
  expect([there.name, there.message, there.stack]).toEqual(["RangeError", "too far", error.stack]);
  expect(toWireException(there)).toEqual(toWireException(error));
  const system = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED", errno: -111 });
  expect(toWireException(crossThrown(system))).toEqual(toWireException(system));
});

test("what aborts a signal crosses as the class that tasks look for", () => {
  expect(crossThrown(new SoftTimeLimitExceeded(3))).toEqual(new SoftTimeLimitExceeded(3));
  expect(crossThrown(new TaskRevokedError("terminated"))).toBeInstanceOf(TaskRevokedError);
  expect(crossThrown(new LeaseLostError())).toBeInstanceOf(LeaseLostError);
  expect(crossThrown(new WorkerStoppedError())).toBeInstanceOf(WorkerStoppedError);
});

test("what is thrown may be anything", () => {
  expect(crossThrown("text")).toBe("text");
  expect(crossThrown({ reason: new Date(0) })).toEqual({ reason: new Date(0) });
  expect(typeof crossThrown(() => 1)).toBe("string");
  expect(crossThrown(undefined)).toBeUndefined();
});

test.each<Outcome>([
  { kind: "succeeded", value: { total: new Decimal("2.50") } },
  { kind: "ignored" },
  { kind: "rejected", requeue: true, reason: "not mine" },
  {
    kind: "retry",
    plan: { delayMs: 5, etaAt: undefined, retries: 2, error: undefined, changes: { args: [new Decimal("1")], queue: "other" } },
    isAutomatic: true,
  },
])("the outcome $kind crosses unchanged", (outcome) => {
  expect(crossOutcome(outcome)).toEqual(outcome);
});

test("a failure says that it was weighed where it happened", () => {
  expect(crossOutcome({ kind: "failed", error: new Error("no") })).toMatchObject({ kind: "failed", isWeighed: true, isExpected: false });
});

test("what replaces a task crosses with its values", () => {
  const signature = { task: "t", args: [new Decimal("1.10")], kwargs: {}, options: { task_id: "a" }, subtask_type: null, immutable: false };
  const outcome: Outcome = { kind: "replaced", by: { kind: "call", signature } };
  expect(crossOutcome(outcome)).toEqual(outcome);
});
