/** Remote control from both ends, on a broker in memory: what `app.control` asks, and what workers answer. */
import { expect, test } from "vitest";

import type { Lovage, LovageOptions } from "../../app/app.ts";
import type { NodeReply } from "../../app/control.ts";
import { encodeControlRequest } from "../../protocol/control.ts";
import type { Message } from "../../protocol/message.ts";
import type { LogFields, Logger } from "../../shared/log.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { memoryApp } from "../../testing/memory-app.ts";
import type { WorkerOptions } from "../worker-options.ts";
import { Worker } from "../worker.ts";

function room(options: LovageOptions = {}) {
  const clock = new FakeClock();
  const log: string[] = [];
  const note =
    (level: string) =>
    (_: LogFields, message: string): void =>
      void log.push(`${level} ${message}`);
  const logger: Logger = { debug: note("debug"), info: note("info"), warn: note("warn"), error: note("error"), child: () => logger };
  const app = memoryApp({ clock, logger, random: () => 0.5, ...options });
  const workers: Worker[] = [];
  return {
    app,
    clock,
    log,
    async worker(name: string, workerOptions: WorkerOptions = {}) {
      const worker = new Worker(app, { name, ...workerOptions });
      workers.push(worker);
      await worker.start();
      return worker;
    },
    /** Lets the time pass that answers are waited for. */
    async asked<T>(answers: Promise<T>): Promise<T> {
      answers.catch(() => undefined);
      await clock.advance(1500);
      return await answers;
    },
    async [Symbol.asyncDispose]() {
      const stopped = Promise.all(workers.map((each) => each.stop()));
      await clock.advance(30_000);
      await stopped;
      await app.close();
    },
  };
}

const byNode = (replies: readonly NodeReply[]): Record<string, unknown> =>
  Object.fromEntries(replies.toSorted((a, b) => a.node.localeCompare(b.node)).map(({ node, value }) => [node, value]));

const waits = (app: Lovage, name = "shop.waits") =>
  app.task({
    name,
    run: (ctx) => new Promise((_, reject) => ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason as Error))),
  });

test("ping is answered by whom it is for, while every slot is busy", async () => {
  await using one = room();
  const task = waits(one.app);
  await one.worker("a@x", { concurrency: 1 });
  await one.worker("b@x", { concurrency: 1 });
  const busy = [await task.delay(), await task.delay(), await task.delay()];
  await one.clock.advance(10);
  const pong = { ok: "pong" };
  const { control } = one.app;
  expect(byNode(await one.asked(control.ping()))).toEqual({ "a@x": pong, "b@x": pong });
  expect(byNode(await one.asked(control.ping({ pattern: "b@*" })))).toEqual({ "b@x": pong });
  expect(byNode(await one.asked(control.ping({ pattern: "[ab]@", matcher: "pcre" })))).toEqual({ "a@x": pong, "b@x": pong });
  expect(byNode(await one.asked(control.ping({ destination: "nobody@x" })))).toEqual({});
  expect(await one.asked(control.ping({ limit: 1 }))).toHaveLength(1);
  const seen: string[] = [];
  // As many as were named: nothing is waited for any more, so no time has to pass.
  expect(byNode(await control.ping({ destination: ["b@x"], onReply: ({ node }) => seen.push(node) }))).toEqual({ "b@x": pong });
  expect(seen).toEqual(["b@x"]);
  await one.app.revoke(
    busy.map(({ id }) => id),
    { terminate: true },
  );
});

test("who asks is told of a wish that cannot be, and may stop waiting", async () => {
  await using one = room();
  const { control } = one.app;
  await expect(control.ping({ destination: [] })).rejects.toThrow("names no worker");
  await expect(control.ping({ timeout: "soon" as "1s" })).rejects.toThrow("timeout of a command is not accepted");
  await expect(control.revoke(["a", ""])).rejects.toThrow("takes ids");
  await expect(control.revoke("x".repeat(2000))).rejects.toThrow("takes ids");
  const stop = new AbortController();
  const asking = control.ping({ signal: stop.signal });
  await one.clock.advance(10);
  stop.abort(new Error("enough"));
  await expect(asking).rejects.toThrow("enough");
});

test("revoke answers as Celery does, and says what was ended", async () => {
  await using one = room();
  const task = waits(one.app);
  await one.worker("a@x", { concurrency: 1 });
  const [later, runs] = [await task.applyAsync([], null, { countdown: 9 }), await task.delay()];
  await one.clock.advance(10);
  const { control } = one.app;
  const answer = async (replies: Promise<readonly NodeReply[]>): Promise<unknown> => (await one.asked(replies))[0]?.value;
  expect(await answer(control.revoke(["one", "it's"], { reply: true }))).toEqual({
    ok: `tasks {'one', "it's"} flagged as revoked`,
  });
  expect(await answer(control.terminate(["unknown"], { reply: true }))).toEqual({ ok: "terminate: tasks unknown" });
  expect(await answer(control.terminate([runs.id, later.id], { reply: true }))).toEqual({ ok: `terminate: ${runs.id}, ${later.id}` });
  expect(await answer(control.terminate("other", { reply: true, signal: "SIGNOPE" }))).toEqual({
    error: `LookupError("Unknown signal: 'SIGNOPE'")`,
  });
  expect(await answer(control.broadcast("revoke", { task_id: ["a", 7] }, { reply: true }))).toEqual({
    error: "ValueError('task_id must be an id, or a list of ids')",
  });
  const ids = (await answer(control.broadcast("revoked", {}, { reply: true }))) as string[];
  expect(new Set(ids)).toEqual(new Set(["one", "it's", "unknown", runs.id, later.id, "other"]));
  await expect(later.get()).rejects.toMatchObject({ name: "TaskRevokedError" });
});

test("a stamp revokes what bears it, now and later, and after a restart of every worker", async () => {
  await using one = room();
  const task = waits(one.app);
  const first = await one.worker("a@x");
  const stamped = (tenant: unknown) => ({ stampedHeaders: ["tenant"], stamps: { tenant } });
  const [acme, other] = [await task.applyAsync([], null, stamped("acme")), await task.applyAsync([], null, stamped(["x", "y"]))];
  await one.clock.advance(10);
  expect(first.status().running).toBe(2);
  const { control } = one.app;
  const said = await one.asked(control.revokeByStampedHeaders({ tenant: ["acme", "zzz"] }, { reply: true }));
  expect(said[0]?.value).toEqual({ ok: "headers {'tenant': ['acme', 'zzz']} flagged as revoked, but not terminated" });
  await expect(acme.get()).rejects.toMatchObject({ name: "TaskRevokedError" });
  const ended = await one.asked(control.revokeByStampedHeaders({ tenant: ["y", "acme"] }, { terminate: true, reply: true }));
  expect(ended[0]?.value).toEqual({ ok: "headers {'tenant': ['y']} revoked" });
  await expect(other.get()).rejects.toMatchObject({ name: "TaskRevokedError" });
  const unknown = await one.asked(control.revokeByStampedHeaders({ tenant: "n" }, { terminate: true, reply: true }));
  expect(unknown[0]?.value).toEqual({
    ok: "headers {'tenant': ['n']} were not terminated",
  });
  const stopping = first.stop();
  await one.clock.advance(30_000);
  await stopping;
  const second = await one.worker("b@x");
  const late = await task.applyAsync([], null, stamped("acme"));
  await one.clock.advance(10);
  expect(second.status()).toMatchObject({ running: 0, processed: 0 });
  await expect(late.get()).rejects.toMatchObject({ name: "TaskRevokedError" });
});

test("a revoke that came from elsewhere is remembered by the broker, unless it was for some workers only", async () => {
  await using one = room();
  const task = waits(one.app);
  await one.worker("a@x", { concurrency: 1 });
  const { revocations } = await one.app.broker();
  const { control } = one.app;
  await control.broadcast("revoke", { task_id: "by-python" }); // as Celery's own client sends it
  await control.revoke("for-one", { destination: "a@x" });
  await one.clock.advance(10);
  expect(await revocations?.among(["task:by-python", "task:for-one"])).toEqual(new Set(["task:by-python"]));
  expect(await one.app.result("by-python").state()).toBe("REVOKED");
  expect(await one.app.result("for-one").state()).toBe("PENDING");
  const skipped = await task.applyAsync([], null, { taskId: "for-one" });
  await one.clock.advance(10);
  expect(await skipped.state()).toBe("REVOKED");
});

test("what has ended is not revoked in its result", async () => {
  await using one = room();
  const add = one.app.task("shop.add", (x: number) => x + 1);
  await one.worker("a@x");
  const done = await add.delay(1);
  await one.clock.advance(10);
  await done.revoke();
  await one.clock.advance(10);
  expect(await one.app.result(done.id).state()).toBe("SUCCESS");
});

test("a Python worker that starts is told what is revoked, and tells what it knows", async () => {
  await using one = room();
  await one.worker("a@x");
  const { control } = one.app;
  await control.revoke("mine");
  const hello = async (args: Record<string, unknown>): Promise<unknown> =>
    (await one.asked(control.broadcast("hello", args, { reply: true })))[0]?.value;
  expect(await hello({ from_node: "py@x", revoked: { theirs: [1042.5, "theirs"] } })).toEqual({
    revoked: ["mine", "theirs"],
    clock: expect.any(Number),
  });
  expect(await hello({ from_node: "a@x" })).toBeNull();
  expect(await hello({ from_node: "py@x", revoked: "nonsense" })).toMatchObject({ revoked: ["mine", "theirs"] });
  expect(await (await one.app.broker()).revocations?.among(["task:theirs"])).toEqual(new Set()); // each of them would write it
});

test("shutdown stops whom it names, and is not answered", async () => {
  await using one = room();
  const [a, b] = [await one.worker("a@x"), await one.worker("b@x")];
  expect(await one.asked(one.app.control.broadcast("shutdown", { msg: "go home" }, { destination: "a@x", reply: true }))).toEqual([]);
  await one.clock.advance(30_000);
  await a.finished;
  expect(b.status().state).toBe("running");
  expect(one.log).toContain("warn go home");
});

test("quiet lets what runs go on and takes nothing more, until resume", async () => {
  await using one = room();
  const task = waits(one.app);
  const worker = await one.worker("a@x");
  const { control } = one.app;
  const first = await task.delay();
  await one.clock.advance(10);
  expect(byNode(await one.asked(control.quiet({ reply: true })))).toEqual({ "a@x": { ok: "takes no more tasks" } });
  const second = await task.delay();
  await one.clock.advance(1000);
  expect(worker.status()).toMatchObject({ state: "quiet", running: 1 });
  expect(byNode(await one.asked(control.ping()))).toEqual({ "a@x": { ok: "pong" } });
  expect(byNode(await one.asked(control.resume({ reply: true })))).toEqual({ "a@x": { ok: "takes tasks" } });
  await one.clock.advance(1000);
  expect(worker.status()).toMatchObject({ state: "running", running: 2 });
  await one.app.revoke([first.id, second.id]);
  await one.clock.advance(10);
});

test("a worker that stops still answers, and is told of revokes", async () => {
  await using one = room();
  const task = waits(one.app);
  const worker = await one.worker("a@x");
  const runs = await task.delay();
  await one.clock.advance(10);
  const stopping = worker.stop();
  await one.clock.advance(1000);
  expect(byNode(await one.asked(one.app.control.ping()))).toEqual({ "a@x": { ok: "pong" } });
  await one.app.control.shutdown(); // no hurry
  await one.clock.advance(1000);
  expect(worker.status()).toMatchObject({ state: "warm", running: 1 });
  await runs.revoke();
  await one.clock.advance(3000);
  await stopping; // long before its grace is over
  expect(await runs.state()).toBe("REVOKED");
});

test("a command that is not known is answered as Celery answers it", async () => {
  await using one = room();
  await one.worker("a@x");
  const ask = async (command: string): Promise<unknown> =>
    (await one.asked(one.app.control.broadcast(command, {}, { reply: true })))[0]?.value;
  expect(await ask("no_such_command")).toEqual({ error: "KeyError('no_such_command')" });
  expect(await ask("__proto__")).toEqual({ error: "KeyError('__proto__')" });
  expect(await ask("constructor")).toEqual({ error: "KeyError('constructor')" });
  expect(await ask("ping")).toEqual({ ok: "pong" });
});

test("a command whose time was over long ago is not carried out, but for a revoke", async () => {
  await using one = room();
  const worker = await one.worker("a@x");
  const { broadcast, revocations } = await one.app.broker();
  const late = { serializer: "json", expiresAt: one.clock.now() - 60_000 } as const;
  await broadcast?.publish(encodeControlRequest({ method: "shutdown", arguments: {} }, late), "celery.pidbox", "");
  await broadcast?.publish(encodeControlRequest({ method: "revoke", arguments: { task_id: "t" } }, late), "celery.pidbox", "");
  await one.clock.advance(1000);
  expect(worker.status().state).toBe("running");
  expect(one.log.filter((line) => line.includes("came too late"))).toHaveLength(1);
  expect(await revocations?.among(["task:t"])).toEqual(new Set(["task:t"]));
});

test("nothing that is sent harms a worker, and answers go to the place for answers only", async () => {
  await using one = room();
  const worker = await one.worker("a@x");
  const broker = await one.app.broker();
  const say = async (change: Partial<Message>): Promise<void> => {
    const message = encodeControlRequest({ method: "ping", arguments: {} }, { serializer: "json" });
    await broker.broadcast?.publish({ ...message, ...change }, "celery.pidbox", "");
    await one.clock.advance(1100); // refusals are logged once a second
  };
  const body = (value: unknown): Partial<Message> => ({ body: Buffer.from(JSON.stringify(value)) });
  const hostile: Partial<Message>[] = [
    { body: Buffer.from("{") },
    { body: Buffer.alloc(9 * 1024 * 1024, 0x20) },
    { contentType: "application/x-python-serialize" },
    { headers: { compression: "zlib", clock: 1 } },
    body([]),
    body("ping"),
    body({ method: 7 }),
    body({ method: "ping", arguments: [1] }),
    body({ method: "ping", destination: [7] }),
    body({ method: "ping", ticket: "t", reply_to: { exchange: "", routing_key: "celery" } }),
    body({ method: "ping", ticket: "t", reply_to: { exchange: "celery", routing_key: "celery" } }),
    body({ method: "ping", ticket: "t", reply_to: { exchange: "reply.celery.pidbox", routing_key: "x".repeat(300) } }),
  ];
  for (const each of hostile) await say(each);
  expect(one.log.filter((line) => line.startsWith("warn a control message was refused"))).toHaveLength(hostile.length);
  await say({ headers: { clock: Number.MAX_SAFE_INTEGER } }); // must not bring the clock to its end
  await say(body({ method: "x".repeat(100_000) }));
  await say(body({ method: "revoke", arguments: { task_id: { a: 1 }, terminate: "yes" } }));
  await say(body({ method: "revoke_by_stamped_headers", arguments: { headers: { a: { b: 1 } } } }));
  expect(one.app.lamport.value).toBeLessThan(100);
  expect((await broker.depth(["celery"]))[0]?.ready).toBe(0);
  expect(worker.status().state).toBe("running");
  expect(byNode(await one.asked(one.app.control.ping()))).toEqual({ "a@x": { ok: "pong" } });
});

test("without remote control nothing is heard, but what is revoked is found all the same", async () => {
  await using one = room({ workerEnableRemoteControl: false });
  const task = waits(one.app);
  const worker = await one.worker("a@x");
  expect(await one.asked(one.app.control.ping())).toEqual([]);
  const runs = await task.delay();
  await one.clock.advance(10);
  await runs.revoke();
  await one.clock.advance(7000);
  expect(worker.status().running).toBe(0);
});
