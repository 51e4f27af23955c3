/** Remote control across the two languages: Python's client and workers, Lovage's client and workers, on one Redis. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Redis } from "ioredis";
import { Worker } from "lovage/worker";
import { eventually } from "../support/eventually.ts";
import { isCeleryNew, python, PythonPeer, PythonWorker } from "../support/python.ts";
import { RedisServer } from "../support/redis-server.ts";
import { nodeApp } from "./node-app.ts";

const PONG = { ok: "pong" };

describe.skipIf(python === undefined)("remote control", () => {
  let redis: RedisServer;
  let app: ReturnType<typeof nodeApp>;
  let worker: Worker;
  let peer: PythonPeer;
  let pythonWorker: PythonWorker;
  let hand: Redis;
  const urls = () => ({ broker: redis.url, backend: redis.url.replace(/0$/, "1") });

  beforeAll(async () => {
    redis = await RedisServer.start();
    hand = new Redis(redis.url);
    app = nodeApp({ brokerUrl: redis.url, resultBackend: redis.url.replace(/0$/, "1") });
    worker = new Worker(app, { queues: ["node"], concurrency: 2, name: "node@interop" });
    await worker.start();
    peer = new PythonPeer(urls());
    pythonWorker = new PythonWorker({ ...urls(), arguments: ["--hostname=python@interop"] });
    await listening();
  });

  afterAll(async () => {
    await peer?.[Symbol.asyncDispose]();
    await pythonWorker?.[Symbol.asyncDispose]();
    await worker?.stop();
    await app?.close();
    hand?.disconnect();
    await redis?.stop();
  });

  /** It says that it is ready a little before it hears commands. */
  const listening = async (): Promise<void> => {
    await pythonWorker.ready;
    await eventually("Python answers", async () => {
      const replies = await app.control.ping({ destination: "python@interop", timeout: "500ms" });
      return replies.length > 0;
    });
  };
  const running = async (count: number): Promise<unknown> =>
    await eventually(`${count} tasks run`, () => worker.status().running === count);
  const nodes = (replies: unknown): string[] => (replies as object[]).flatMap((reply) => Object.keys(reply)).toSorted();

  describe("from Python", () => {
    test("ping reaches both, and inspect by name", async () => {
      const replies = await peer.control("ping", [], { timeout: 3 });
      expect(replies).toEqual(expect.arrayContaining([{ "node@interop": PONG }, { "python@interop": PONG }]));
      expect(await peer.control("ping", [], { destination: ["node@interop"], timeout: 10 })).toEqual([{ "node@interop": PONG }]);
      expect(await peer.control("ping", [], { pattern: "node@*", matcher: "glob", limit: 1, timeout: 10 })).toEqual([
        { "node@interop": PONG },
      ]);
      expect(await peer.inspect("ping")).toMatchObject({ "node@interop": PONG, "python@interop": PONG });
    });

    test("a command that Lovage does not have is an error in the reply", async () => {
      const options = { reply: true, destination: ["node@interop"], timeout: 10 };
      expect(await peer.control("broadcast", ["no_such_command"], options)).toEqual([
        { "node@interop": { error: "KeyError('no_such_command')" } },
      ]);
    });

    test("rate_limit is answered as Celery answers it", async () => {
      const options = { reply: true, destination: ["node@interop"], timeout: 10 };
      const answer = async (...args: unknown[]): Promise<unknown> =>
        ((await peer.control("rate_limit", args, options)) as { "node@interop": unknown }[])[0]?.["node@interop"];
      expect(await answer("node.started_at", "100/m")).toEqual({ ok: "new rate limit set successfully" });
      expect(await answer("node.started_at", "0")).toEqual({ ok: "rate limit disabled successfully" });
      expect(await answer("node.unknown", "1/s")).toEqual({ error: "unknown task" });
    });

    test("ping is answered while every slot is busy; terminate ends what runs, and Python reads that it was revoked", async () => {
      const ids = [await peer.send("node.waits", [], { queue: "node" }), await peer.send("node.waits", [], { queue: "node" })];
      await running(2);
      expect(await peer.control("ping", [], { destination: ["node@interop"], timeout: 10 })).toEqual([{ "node@interop": PONG }]);
      const options = { terminate: true, reply: true, destination: ["node@interop"], timeout: 10 };
      expect(await peer.control("revoke", [ids[0]], options)).toEqual([{ "node@interop": { ok: `terminate: ${ids[0]}` } }]);
      expect(await peer.get(ids[0] as string)).toMatchObject({
        state: "REVOKED",
        error: { type: "TaskRevokedError", args: ["terminated"] },
      });
      const before = performance.now();
      await peer.control("revoke", [ids[1]]); // a running task's signal aborts
      await running(0);
      expect(performance.now() - before).toBeLessThan(5000);
      expect(await peer.get(ids[1] as string)).toMatchObject({ state: "REVOKED", error: { args: ["revoked"] } });
    });

    test("a revoked task does not run, nor after a restart of the worker", async () => {
      await peer.control("revoke", ["by-python-1"]);
      await eventually("it is kept", async () => (await hand.zscore("lovage:revoked", "task:by-python-1")) !== null);
      await worker.stop();
      worker = new Worker(app, { queues: ["node"], concurrency: 2, name: "node@interop" });
      await worker.start();
      await peer.send("node.waits", [], { queue: "node", task_id: "by-python-1" });
      await peer.send("node.add", [1, 2], { queue: "node", task_id: "after-it" });
      expect(await peer.get("after-it")).toMatchObject({ value: 3 });
      expect(worker.status().running).toBe(0);
      expect(await peer.get("by-python-1")).toMatchObject({ state: "REVOKED", error: { type: "TaskRevokedError" } });
    });

    test.skipIf(!isCeleryNew)("a list of ids, and stamps", async () => {
      const reply = { reply: true, destination: ["node@interop"], timeout: 10 };
      const [listed] = (await peer.control("revoke", [["one", "two"]], reply)) as { "node@interop": { ok: string } }[];
      expect(listed?.["node@interop"].ok).toMatch(/^tasks \{'(one', 'two|two', 'one)'\} flagged as revoked$/);
      const id = await peer.send("node.waits", [], { queue: "node", headers: { stamped_headers: ["tenant"], stamps: { tenant: "acme" } } });
      await running(1);
      const options = { ...reply, terminate: true };
      expect(await peer.control("revoke_by_stamped_headers", [{ tenant: ["acme"] }], options)).toEqual([
        { "node@interop": { ok: "headers {'tenant': ['acme']} revoked" } },
      ]);
      expect(await peer.get(id)).toMatchObject({ state: "REVOKED" });
    });
  });

  describe("from Lovage", () => {
    test("ping reaches both, and leaves nothing behind", async () => {
      const replies = await app.control.ping({ timeout: "3s" });
      expect(replies).toEqual(
        expect.arrayContaining([
          { node: "node@interop", value: PONG },
          { node: "python@interop", value: PONG },
        ]),
      );
      expect(await app.control.ping({ destination: ["python@interop"], timeout: "10s" })).toEqual([
        { node: "python@interop", value: PONG },
      ]);
      expect(await hand.exists("lovage:reply-queues")).toBe(0);
      expect(await hand.keys("*.reply.celery.pidbox")).toEqual([]);
    });

    test.skipIf(!isCeleryNew)(
      "revoke and terminate are answered by Python, and a task that it had not taken does not run there",
      async () => {
        const held = await peer.send("python.hold", [1], { queue: "python" });
        const id = await peer.send("python.add", [1, 1], { queue: "python", countdown: 2 });
        const replies = await app.control.revoke(id, { reply: true, timeout: "5s", limit: 2 });
        expect(Object.fromEntries(replies.map(({ node, value }) => [node, value]))).toEqual({
          "node@interop": { ok: `tasks {'${id}'} flagged as revoked` },
          "python@interop": { ok: `tasks {'${id}'} flagged as revoked` },
        });
        expect(await app.result(id).state()).toBe("REVOKED");
        expect(await peer.get(held)).toMatchObject({ state: "SUCCESS" });
        await eventually("Python discards it", () => pythonWorker.output.includes(`Discarding revoked task: python.add[${id}]`));
      },
    );

    test("a Python worker that starts is told by Lovage what is revoked", async () => {
      await app.control.shutdown({ destination: "python@interop" });
      expect(await pythonWorker.exited()).toBe(0);
      await app.revoke(["known-to-lovage"]);
      pythonWorker = new PythonWorker({ ...urls(), arguments: ["--hostname=python@interop"] });
      await listening();
      expect(pythonWorker.output).toContain("mingle: sync with 1 nodes");
      const [revoked] = await app.control.broadcast("revoked", {}, { reply: true, destination: "python@interop", timeout: "10s" });
      expect(revoked?.value).toContain("known-to-lovage");
    });
  });

  test("shutdown from Python ends the worker it names", async () => {
    expect(await peer.control("shutdown", [], { destination: ["node@interop"] })).toBeNull();
    await worker.finished;
    expect(worker.status().state).toBe("stopped");
    expect(nodes(await peer.control("ping", [], { timeout: 2 }))).toEqual(["python@interop"]);
  });
});
