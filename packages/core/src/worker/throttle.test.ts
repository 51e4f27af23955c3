/** Celery's rate limits, from end to end. */
import { expect, test } from "vitest";

import { document, room } from "../../test/support/worker-room.ts";

test("a rate limit spaces the starts of its task, and holds up no other", async () => {
  const { app, clock, start, stop } = room();
  const at: number[] = [];
  const limited = app.task("shop.limited", { rateLimit: "2/s" }, () => void at.push(clock.monotonic()));
  const free = app.task("shop.free", () => clock.monotonic());
  const running = await start({ concurrency: 4 });
  for (let i = 0; i < 5; i++) await limited.delay();
  const other = await free.delay();
  await clock.advance(100);
  expect(await document(app, other.id)).toMatchObject({ status: "SUCCESS", result: 0 });
  await clock.advance(3000);
  expect(at).toEqual([0, 500, 1000, 1500, 2000]);
  expect(running.status().onLoan).toBe(0);
  await stop(running);
});

test("more messages of a slow task than there are slots hold up no other either, and all run in time", async () => {
  const { app, clock, broker, start, stop } = room();
  const at: number[] = [];
  const limited = app.task("shop.limited", { rateLimit: "60/m" }, () => void at.push(clock.monotonic()));
  const free = app.task("shop.free", () => clock.monotonic());
  const running = await start({ concurrency: 2 });
  for (let i = 0; i < 12; i++) await limited.delay();
  const other = await free.delay();
  await clock.advance(100);
  expect(await document(app, other.id)).toMatchObject({ status: "SUCCESS" });
  expect(running.status().onLoan).toBeLessThanOrEqual(2);
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ ready: 0, parked: 9 }]);
  await clock.advance(60_000);
  expect(at).toHaveLength(12);
  for (const [i, time] of at.entries()) if (i > 0) expect(time - (at[i - 1] as number)).toBeGreaterThanOrEqual(999);
  expect(at.at(-1)).toBeLessThan(20_000);
  await stop(running);
});

test("a rate that is changed while it runs holds at once, also for what waits", async () => {
  const { app, clock, start, stop } = room();
  const at: number[] = [];
  const limited = app.task("shop.limited", { rateLimit: "1/m" }, () => void at.push(clock.monotonic()));
  const running = await start({ concurrency: 4 });
  for (let i = 0; i < 5; i++) await limited.delay();
  const told = async (rate: string | null): Promise<unknown> => {
    const replies = app.control.rateLimit("shop.limited", rate, { reply: true, limit: 1 });
    await clock.advance(0);
    return (await replies)[0]?.value;
  };
  await clock.advance(100);
  expect(await told("4/s")).toEqual({ ok: "new rate limit set successfully" });
  await clock.advance(499);
  expect(at).toEqual([0, 100, 350]);
  expect(await told(null)).toEqual({ ok: "rate limit disabled successfully" });
  await clock.advance(0);
  expect(at).toEqual([0, 100, 350, 599, 599]);
  expect(() => app.control.rateLimit("shop.limited", "soon")).toThrow('is "soon": it takes a number per second');
  const answers = async (args: object): Promise<unknown> => {
    const replies = app.control.broadcast("rate_limit", { ...args }, { reply: true, limit: 1 });
    await clock.advance(0);
    return (await replies)[0]?.value;
  };
  expect(await answers({ task_name: "shop.unknown", rate_limit: "1/s" })).toEqual({ error: "unknown task" });
  expect(await answers({ task_name: "shop.limited", rate_limit: "1/d" })).toEqual({
    error: "Invalid rate limit string: ValueError('1/d')",
  });
  await stop(running);
});
