import { describe, expect, test } from "vitest";
import { CallError } from "./errors.ts";
import { NotAccepted } from "./setting-kinds.ts";
import { readUniqueOptions, type ResolvedUnique, type UniqueInput, uniqueRule } from "./unique-options.ts";

const DAY = 86_400_000;

const read = (input: UniqueInput): ResolvedUnique => readUniqueOptions(input) as ResolvedUnique;
/** What comes after the task's name in the lock's. */
function keyOf(
  unique: UniqueInput,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>> = {},
  params?: readonly string[],
): string | undefined {
  return uniqueRule("t", read(unique), { args, kwargs, params }, 0)?.name.slice("t:".length);
}

describe("what a task says", () => {
  test.each([
    [true, { mode: "done", ttlMs: DAY, waitMs: 0, maxWaitMs: 0 }],
    [{}, { mode: "done", ttlMs: DAY }],
    [
      { until: "done", ttl: "1h" },
      { mode: "done", ttlMs: 3_600_000 },
    ],
    [{ until: "started" }, { mode: "started", ttlMs: DAY }],
    [{ throttle: "1h" }, { mode: "time", ttlMs: 3_600_000 }],
    [{ debounce: "5s" }, { mode: "debounce", ttlMs: DAY, waitMs: 5000, maxWaitMs: 0 }],
    [
      { debounce: 5, maxWait: "1m", ttl: "2h" },
      { mode: "debounce", ttlMs: 7_200_000, waitMs: 5000, maxWaitMs: 60_000 },
    ],
    [{ debounce: 0.0001 }, { waitMs: 1 }],
    [{ keepLast: true }, { mode: "last", ttlMs: DAY }],
    [{ keepLast: false, until: "started" }, { mode: "started" }],
  ] as const)("%j", (input, resolved) => expect(read(input)).toMatchObject(resolved));

  test.each([undefined, false])("%j: not unique", (input) => expect(readUniqueOptions(input)).toBeUndefined());

  test.each([
    ["yes", undefined],
    [7, undefined],
    [[], undefined],
    [{ keys: "x" }, '"keys" is not one of key, until'],
    [{ until: "done", throttle: "1h" }, "it has until and throttle: keep one of them"],
    [{ debounce: "5s", keepLast: true }, "it has debounce and keepLast"],
    [{ until: "ended" }, '`until` takes "done" or "started"'],
    [{ keepLast: "yes" }, "`keepLast` takes true or false"],
    [{ maxWait: "5s" }, "`maxWait` goes with `debounce`"],
    [{ debounce: "5s", maxWait: "4s" }, "`maxWait` is less than `debounce`"],
    [{ throttle: "1h", ttl: "1h" }, "`throttle` says itself how long"],
    [{ throttle: 0 }, "`throttle` takes"],
    [{ debounce: "soon" }, "`debounce` takes"],
    [{ ttl: "-1s" }, "`ttl` takes"],
    [{ key: "" }, "`key` takes"],
    [{ key: [] }, "`key` takes"],
    [{ key: [0, true] }, "`key` takes"],
    [{ key: [-1] }, "`key` takes"],
    [{ key: 0.5 }, "`key` takes"],
    [{ key: null }, "`key` takes"],
  ] as const)("%j is refused", (input, why) => {
    expect(() => readUniqueOptions(input)).toThrow(NotAccepted);
    if (why !== undefined)
      expect(() => readUniqueOptions(input)).toThrow(expect.objectContaining({ detail: expect.stringContaining(why) }));
  });
});

describe("which calls are the same", () => {
  test("all arguments count, and the order of names in an object does not", () => {
    const all = keyOf(true, [1, { a: 1, b: { c: 2, d: 3 } }], { x: 1, y: 2 });
    expect(all).toMatch(/^#[0-9a-f]{32}$/);
    expect(keyOf(true, [1, { b: { d: 3, c: 2 }, a: 1 }], { y: 2, x: 1 })).toBe(all);
    for (const [args, kwargs] of [
      [[1, { a: 1, b: { c: 2, d: 4 } }], { x: 1, y: 2 }],
      [[1, { a: 1, b: { c: 2, d: 3 } }], { x: 1 }],
      [[{ a: 1, b: { c: 2, d: 3 } }, 1], { x: 1, y: 2 }],
      [["1", { a: 1, b: { c: 2, d: 3 } }], { x: 1, y: 2 }],
    ] as const)
      expect(keyOf(true, args, kwargs)).not.toBe(all);
  });

  test("values that JSON does not know, or would take for the same, tell calls apart", () => {
    const values = [1n, 2n, NaN, Infinity, -Infinity, null, new Date(0), new Date(1), new Uint8Array([1]), new Uint8Array([2]), "1", 1];
    const sets = [new Set([1]), new Set([2]), new Map([[1, 1]]), new Map([[1, 2]])];
    const keys = [...values, ...sets].map((value) => keyOf(true, [value]));
    expect(new Set(keys).size).toBe(keys.length);
    expect(keyOf(true, [{ a: 1, b: undefined }])).toBe(keyOf(true, [{ a: 1 }])); // the same message
    expect(keyOf(true, [new Date(5)])).toBe(keyOf(true, [new Date(5)]));
    expect(keyOf(true, [JSON.parse('{"__proto__": 1}')])).not.toBe(keyOf(true, [{}]));
  });

  test("what holds itself is refused, as in a message", () => {
    const own: Record<string, unknown> = {};
    own["a"] = own;
    own["b"] = own;
    expect(() => keyOf(true, [own])).toThrow(/nested more than 200 deep, or holds itself/);
  });

  test("places and names of arguments: the others do not count", () => {
    const key = { key: [0, "user"] };
    const one = keyOf(key, ["a", 1], { user: "ann", trace: 1 });
    expect(keyOf(key, ["a", 2], { user: "ann", trace: 2 })).toBe(one);
    expect(keyOf(key, ["b", 1], { user: "ann" })).not.toBe(one);
    expect(keyOf(key, ["a", 1], { user: "bob" })).not.toBe(one);
  });

  test("an argument counts the same by its place and by its name, where the task names its parameters", () => {
    const params = ["user", "kind"];
    const one = keyOf({ key: ["user"] }, ["ann", "mail"], {}, params);
    expect(keyOf({ key: ["user"] }, ["bob", "mail"], {}, params)).not.toBe(one);
    expect(keyOf({ key: ["user"] }, [], { kind: "letter", user: "ann" }, params)).toBe(one);
    expect(keyOf({ key: [0] }, [], { kind: "letter", user: "ann" }, params)).toBe(one);
    expect(keyOf({ key: ["kind"] }, ["ann"], {}, params)).toBe(keyOf({ key: ["kind"] }, ["bob"], {}, params)); // left out by both
  });

  test("an argument that may be among the others is an error: calls that differ are not to be the same", () => {
    expect(() => keyOf({ key: ["user"] }, ["ann"])).toThrow(/names the argument "user".*by position: name them all in `params`/);
    expect(() => keyOf({ key: [0] }, [], { user: "ann" })).toThrow(/takes the argument at place 0.*by name/);
    expect(keyOf({ key: ["user", "toString"] }, [], { user: "ann" })).toBe(keyOf({ key: ["user", "x"] }, [], { user: "ann" }));
    expect(keyOf({ key: [0, 1] }, ["ann"])).not.toBe(keyOf({ key: [0, 1] }, ["bob"]));
  });

  test("a text, a number and what a function returns stand as they are; long ones and several lines by their digest", () => {
    expect([keyOf({ key: "catalogue" }, [1]), keyOf({ key: 7 }, [1])]).toEqual(["catalogue", "7"]);
    expect(keyOf({ key: (user: string) => `u-${user}` }, ["ann"])).toBe("u-ann");
    for (const long of ["x".repeat(201), "a\nb"]) expect(keyOf({ key: long }, [])).toMatch(/^#[0-9a-f]{32}$/);
    expect(keyOf({ key: "x".repeat(200) }, [])).toBe("x".repeat(200));
  });

  test.each([undefined, null])("a function that returns %j: this call is not unique", (value) => {
    expect(uniqueRule("t", read({ key: () => value }), { args: [], kwargs: {} }, 0)).toBeUndefined();
  });

  test("a function that throws, or returns what is no key, fails the call", () => {
    const cause = new Error("no such field");
    const throws = () => {
      throw cause;
    };
    expect(() => keyOf({ key: throws }, [])).toThrow(expect.objectContaining({ cause }) as Error);
    for (const value of ["", NaN, 0.5, {}, true, Promise.resolve("x")])
      expect(() => keyOf({ key: () => value as string }, [])).toThrow(/returned neither a text nor a number/);
  });
});

test("a lock lasts from the ETA on, but a throttle's from the call; a debounced call has none", () => {
  const ttlOf = (unique: UniqueInput, delayMs: number) => uniqueRule("t", read(unique), { args: [], kwargs: {} }, delayMs)?.ttlMs;
  expect(ttlOf({ ttl: "1s" }, 2500.2)).toBe(3501);
  expect(ttlOf({ ttl: "1s" }, -5)).toBe(1000);
  expect(ttlOf({ throttle: "1s" }, 2500)).toBe(1000);
  expect(() => ttlOf({ debounce: "1s" }, 1)).toThrow(CallError);
  expect(ttlOf({ debounce: "1s" }, 0)).toBe(DAY);
});
