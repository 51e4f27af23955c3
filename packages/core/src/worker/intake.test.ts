/** What cannot be run, or not yet: it is kept, and the worker goes on. */
import { expect, test } from "vitest";

import { document, room } from "../../test/support/worker-room.ts";
import { encodeTaskMessage } from "../protocol/task-message.ts";

test("a task that is defined wrongly after the start is kept for later, and the worker goes on", async () => {
  const { app, clock, broker, log, start, stop } = room();
  const fine = app.task("shop.fine", () => "fine");
  const running = await start();
  const options = { retry: { maxRetries: 1 }, retryBackoff: true };
  app.task("shop.wrong", options, () => 0);
  const wrong = "11111111-2222-4333-8444-666666666666";
  const message = encodeTaskMessage({ id: wrong, task: "shop.wrong", args: [], kwargs: {} }, { serializer: "json", now: clock.now() });
  await (await broker()).publish([{ message, exchange: "", routingKey: "celery" }]);
  const result = await fine.delay();
  await clock.advance(100);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS" });
  expect(log.some((line) => line.includes(`shop.wrong[${wrong}] cannot be run as it is defined`))).toBe(true);
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ parked: 1, onLoan: 0, dead: 0 }]);
  await stop(running);
});

test("an unknown task is put aside again and again, and dead-lettered with NotRegistered after its time; it is never discarded", async () => {
  const { app, clock, broker, log, start, stop } = room();
  const running = await start();
  const result = await app.sendTask("shop.gone", [1]);
  await clock.advance(60_000);
  expect(await (await broker()).depth(["celery"])).toMatchObject([{ ready: 0, parked: 1, onLoan: 0, dead: 0 }]);
  expect(await document(app, result.id)).toBeUndefined();
  expect(log.filter((line) => line.includes("unregistered"))).toHaveLength(1);
  await clock.advance(600_000);
  expect(await document(app, result.id)).toMatchObject({
    status: "FAILURE",
    result: { exc_type: "NotRegistered", exc_message: ["shop.gone"], exc_module: "celery.exceptions" },
  });
  const { entries } = await (await broker()).deadLetters.page("celery", { limit: 10 });
  expect(entries).toMatchObject([{ id: result.id, task: "shop.gone", reason: "unknownTask" }]);
  expect(running.status().onLoan).toBe(0);
  await stop(running);
});

test("a task that becomes known while it is put aside runs", async () => {
  const { app, clock, start, stop } = room();
  const running = await start();
  const result = await app.sendTask("shop.soon", []);
  await clock.advance(3000);
  app.task("shop.soon", () => "known now");
  await clock.advance(10_000);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS", result: "known now" });
  await stop(running);
});

test("what cannot be decoded goes to the dead letters, byte for byte, and the worker goes on", async () => {
  const { app, clock, broker, start, stop } = room();
  const ok = app.task("shop.ok", () => "ok");
  const running = await start();
  const memory = await broker();
  memory.inject("celery", "{ this is no envelope");
  memory.inject("celery", new Uint8Array([0xff, 0x00]));
  memory.inject("celery", '{"body": "W10=", "headers": {"task": "shop.ok", "id": 7}, "properties": {}}');
  const result = await ok.delay();
  await clock.advance(100);
  const { entries } = await memory.deadLetters.page("celery", { limit: 10 });
  expect(entries.map((entry) => [entry.reason, entry.raw])).toEqual([
    ["undecodable", '{"body": "W10=", "headers": {"task": "shop.ok", "id": 7}, "properties": {}}'],
    ["undecodable", new Uint8Array([0xff, 0x00])],
    ["undecodable", "{ this is no envelope"],
  ]);
  expect(await document(app, result.id)).toMatchObject({ status: "SUCCESS" });
  expect(running.status()).toMatchObject({ onLoan: 0, waiting: 0, running: 0 });
  await stop(running);
});

test("a message whose arguments cannot be read is dead-lettered, and whoever waits for it is told", async () => {
  const { app, clock, broker, start, stop } = room();
  const ok = app.task("shop.ok", () => "ok");
  const running = await start();
  const result = await ok.applyAsync([], null, { serializer: "yaml" }); // only json is accepted here
  await clock.advance(100);
  expect(await document(app, result.id)).toMatchObject({ status: "FAILURE", result: { exc_type: "ProtocolError" } });
  expect((await (await broker()).deadLetters.page("celery", { limit: 10 })).entries).toMatchObject([
    { id: result.id, reason: "undecodable" },
  ]);
  await stop(running);
});
