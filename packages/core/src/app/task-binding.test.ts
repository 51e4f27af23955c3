import * as v from "valibot";
import { expect, test } from "vitest";
import { z } from "zod";
import { TaskArgumentsError } from "./errors.ts";
import { bindInvoke } from "./task-binding.ts";
import type { TaskContext } from "./task-context.ts";
import { storeDefinition } from "./task-definition.ts";

const ctx = {} as TaskContext;
const run = async (definition: unknown, args: readonly unknown[], kwargs: Record<string, unknown> = {}) =>
  bindInvoke(storeDefinition(definition, undefined, undefined))(ctx, args, kwargs);
const all = (_: TaskContext, ...args: unknown[]): unknown[] => args;

test("without parameters' names the arguments are passed as they come, and the context first", async () => {
  const seen = await bindInvoke(storeDefinition({ name: "t", run: (...args: unknown[]) => args }, undefined, undefined))(ctx, [1, 2], {
    x: 3,
  });
  expect(seen).toEqual([ctx, 1, 2]);
  expect(await bindInvoke(storeDefinition("t", (...args: unknown[]) => args, undefined))(ctx, [1, 2], {})).toEqual([1, 2]);
});

test("keyword arguments are bound to the parameters that the task names", async () => {
  const task = { name: "t", params: ["a", "b", "c"], run: all };
  expect(await run(task, [1], { c: 3, b: 2 })).toEqual([1, 2, 3]);
  expect(await run(task, [1], { c: 3 })).toEqual([1, undefined, 3]);
  await expect(run(task, [1], { a: 2 })).rejects.toThrow("arguments of t are not accepted: a is given twice");
  await expect(run(task, [], { d: 2 })).rejects.toThrow("there is no parameter d");
  await expect(run(task, [], { ["__proto__x"]: 2 })).rejects.toBeInstanceOf(TaskArgumentsError);
});

test("one schema checks the only argument, which may also come as keyword arguments", async () => {
  const task = { name: "t", input: z.object({ id: z.string(), count: z.coerce.number() }), run: all };
  expect(await run(task, [{ id: "x", count: "3" }])).toEqual([{ id: "x", count: 3 }]);
  expect(await run(task, [], { id: "x", count: 4 })).toEqual([{ id: "x", count: 4 }]);
  await expect(run(task, [{ count: 1 }])).rejects.toThrow(/^arguments of t are not accepted: id: /);
  await expect(run(task, [{}, 2])).rejects.toThrow("it takes 1 arguments, not 2");
});

test("a list of schemas checks the arguments in order, of any library, also asynchronously", async () => {
  const late = z.string().refine(async (text) => text !== "no");
  const task = { name: "t", params: ["a", "b"], input: [v.pipe(v.string(), v.trim()), late], run: all };
  expect(await run(task, [" x "], { b: "yes" })).toEqual(["x", "yes"]);
  await expect(run(task, [1, "no"])).rejects.toThrow(/argument 0: .*; argument 1: /);
});

test("a function that answers at once, or throws at once, does so: no promise is made for it", () => {
  const sum = (a: number, b: number): number => {
    if (b === 0) throw new Error("at once");
    return a + b;
  };
  const invoke = bindInvoke(storeDefinition("t", sum, undefined));
  expect(invoke(ctx, [1, 2], {})).toBe(3);
  expect(() => invoke(ctx, [1, 0], {})).toThrow("at once");
  const named = bindInvoke(
    storeDefinition({ name: "t", params: ["a", "b"], run: (_: TaskContext, a: number, b: number) => sum(a, b) }, undefined, undefined),
  );
  expect(named(ctx, [1], { b: 2 })).toBe(3);
  expect(() => named(ctx, [1], { c: 2 })).toThrow("there is no parameter c");
});

test("a task needs a name and a function", () => {
  expect(() => storeDefinition(() => {}, undefined, undefined)).toThrow("tasks have no automatic names");
  expect(() => storeDefinition({ run() {} }, undefined, undefined)).toThrow("a task needs a name");
  expect(() => storeDefinition({ name: "t" }, undefined, undefined)).toThrow("the task t has no function to run");
  expect(() =>
    storeDefinition({ name: "t", run: (_: unknown, a: unknown, b: unknown) => [a, b], params: ["a"] }, undefined, undefined),
  ).toThrow("takes 2 arguments but names 1");
});
