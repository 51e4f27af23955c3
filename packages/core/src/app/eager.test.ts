/** Calls that run in the process that makes them. */
import { expect, test } from "vitest";
import { ProtocolError } from "../protocol/errors.ts";
import { memoryApp } from "../testing/memory-app.ts";

test("eager: arguments pass through the wire's format, results are at hand", async () => {
  await using app = memoryApp();
  const echo = app.task("echo", (value: unknown) => value);
  const value = { list: [1] };
  const result = await echo.apply([value]);
  expect(await result.get()).toEqual(value);
  expect(await result.get()).not.toBe(value);
  expect([await result.state(), await result.ready(), await result.successful()]).toEqual(["SUCCESS", true, true]);
  await expect(echo.apply([() => 1])).rejects.toBeInstanceOf(ProtocolError);
});

test("eager: retries run at once, hooks are called, the very error is thrown", async () => {
  await using app = memoryApp();
  const calls: string[] = [];
  const flaky = app.task({
    name: "flaky",
    retry: { maxRetries: 2 },
    beforeStart: (ctx) => calls.push(`before ${ctx.retries}`),
    onRetry: (error) => calls.push(`retry ${(error as Error).message}`),
    onSuccess: (value) => calls.push(`success ${String(value)}`),
    onFailure: (error) => calls.push(`failure ${(error as Error).message}`),
    afterReturn: (state) => calls.push(`after ${state}`),
    run(ctx, succeedAt: number) {
      if (ctx.retries < succeedAt) throw new RangeError(`try ${ctx.retries}`);
      return ctx.retries;
    },
  });
  expect(await (await flaky.apply([1])).get()).toBe(1);
  expect(calls.splice(0)).toEqual(["before 0", "retry try 0", "before 1", "success 1", "after SUCCESS"]);
  const failed = await flaky.apply([9]);
  await expect(failed.get()).rejects.toBeInstanceOf(RangeError);
  expect(await failed.get({ propagate: false })).toBeInstanceOf(RangeError);
  expect(await failed.state()).toBe("FAILURE");
  expect(await failed.traceback()).toContain("try 2");
});

test("eager: ctx.retry() by hand ends with the error that was given", async () => {
  await using app = memoryApp();
  let runs = 0;
  const task = app.task({
    name: "t",
    run(ctx, note: string): string {
      runs++;
      if (note !== "changed") ctx.retry({ args: ["changed"], maxRetries: 5, countdown: "1h" });
      return ctx.retry({ error: new Error("given"), maxRetries: 2 });
    },
  });
  await expect((await task.apply(["first"])).get()).rejects.toThrow("given");
  expect(runs).toBe(3);
});

test("taskAlwaysEager runs what is known here and propagates on request", async () => {
  await using app = memoryApp({ taskAlwaysEager: true, taskEagerPropagates: true });
  const ok = app.task("ok", (x: number) => x + 1);
  const bad = app.task("bad", () => {
    throw new TypeError("at once");
  });
  expect(await (await ok.delay(1)).get()).toBe(2);
  expect(await Promise.all((await ok.map([[1], [2]])).map((result) => result.get()))).toEqual([2, 3]);
  await expect(bad.delay()).rejects.toThrow(TypeError);
});

test("eager results are stored when asked", async () => {
  await using app = memoryApp({ taskStoreEagerResult: true });
  const task = app.task("t", () => 7);
  const { id } = await task.apply([]);
  expect(await app.result(id).get()).toBe(7);
});

test("eager mode is refused in the production preset", async () => {
  await using app = memoryApp({ preset: "production", taskAlwaysEager: true });
  expect(() => app.settings).toThrow("taskAlwaysEager");
});
