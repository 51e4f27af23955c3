/** What the pages say of a worker's life, from the built package: the guard thread answers. */
import { createServer } from "node:net";
import { once } from "node:events";
import { Lovage } from "lovage";
import { Worker } from "lovage/worker";
import { expect, test } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { metric, probe, statusOf } from "../../support/health-probe.ts";
import { freePort } from "../../support/redis-server.ts";
import { temporaryStores } from "../../support/stores.ts";
import { Project } from "../cli/project.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent, isLevelEnabled: () => false };

test.each(temporaryStores())("$kind: tasks, queues, link and process are counted", async ({ open }) => {
  await using store = await open();
  const port = await freePort();
  await using app = new Lovage("shop", { brokerUrl: store.url, resultBackend: store.url, env: false, configFile: false, logger: silent });
  const add = app.task("shop.add", (x: number, y: number) => x + y);
  const boom = app.task("shop.boom", () => {
    throw new Error("no");
  });
  const again = app.task({
    name: "shop.again",
    maxRetries: 2,
    run(ctx): string {
      if (ctx.retries < 2) ctx.retry({ countdown: 0 });
      return "done";
    },
  });
  await using worker = new Worker(app, { concurrency: 4, healthPort: port });
  await worker.start();
  await Promise.all([1, 2, 3].map(async (i) => (await add.delay(i, i)).get()));
  await expect((await boom.delay()).get()).rejects.toThrow();
  await (await again.delay()).get();
  await app.sendTask("shop.nobodyKnows", [], { queue: "elsewhere" }); // not consumed from
  const page = await eventually("all is counted, and the queue was asked for", async () => {
    const { body = "" } = (await probe(port, "/metrics")) ?? {};
    const isCounted = metric(body, 'lovage_tasks_ended_total{task="shop.again",queue="celery",outcome="succeeded"}') === 1;
    return isCounted && metric(body, 'lovage_queue_length{queue="celery"}') !== undefined && body;
  });
  const of = (task: string, name: string, outcome?: string): number | undefined =>
    metric(page, `${name}{task="${task}",queue="celery"${outcome === undefined ? "" : `,outcome="${outcome}"`}}`);
  expect(of("shop.add", "lovage_tasks_received_total")).toBe(3);
  expect(of("shop.add", "lovage_tasks_started_total")).toBe(3);
  expect(of("shop.add", "lovage_tasks_ended_total", "succeeded")).toBe(3);
  expect(of("shop.add", "lovage_tasks_ended_total", "failed")).toBe(0);
  expect(of("shop.add", "lovage_task_runtime_seconds_count")).toBe(3);
  expect(of("shop.add", "lovage_task_wait_seconds_count")).toBe(3);
  expect(of("shop.boom", "lovage_tasks_ended_total", "failed")).toBe(1);
  expect(of("shop.again", "lovage_task_retries_total")).toBe(2);
  expect(of("shop.again", "lovage_tasks_received_total")).toBe(3);
  expect(metric(page, "lovage_worker_slots")).toBe(4);
  expect(metric(page, "lovage_worker_ready")).toBe(1);
  expect(metric(page, 'lovage_worker_state{state="running"}')).toBe(1);
  expect(metric(page, "lovage_consuming")).toBe(1);
  expect(metric(page, "lovage_lease_losses_total")).toBe(0);
  expect(metric(page, "lovage_lease_remaining_seconds")).toBeGreaterThan(0);
  expect(metric(page, "process_resident_memory_bytes")).toBeGreaterThan(1e6);
  expect(page).not.toContain("nobodyKnows");
  await worker.stop();
  expect(await probe(port, "/metrics")).toBeUndefined(); // nobody listens any more
});

test("other paths and methods are refused, and HEAD is answered", async () => {
  const port = await freePort();
  await using app = new Lovage("shop", { brokerUrl: "memory://", env: false, configFile: false, logger: silent, workerHealthPort: port });
  await using worker = new Worker(app);
  await worker.start();
  expect(await probe(port, "/")).toMatchObject({ status: 404, body: "there is /livez, /readyz, /metrics\n" });
  expect(await statusOf(port, "/constructor")).toBe(404);
  expect(await statusOf(port, "/livez?verbose=1")).toBe(200);
  const ask = (method: string): Promise<Response> => fetch(`http://127.0.0.1:${port}/livez`, { method });
  expect((await ask("POST")).status).toBe(405);
  const head = await ask("HEAD");
  expect([head.status, await head.text()]).toEqual([200, ""]);
});

test("a memory broker's worker tells of a blocked loop, too", async () => {
  const port = await freePort();
  await using app = new Lovage("shop", { brokerUrl: "memory://", env: false, configFile: false, logger: silent });
  const cell = new SharedArrayBuffer(4);
  const block = app.task("shop.block", () => void Atomics.wait(new Int32Array(cell), 0, 0, 1500));
  await using worker = new Worker(app, { healthPort: port });
  await worker.start();
  const seen = fetchInThread(port);
  await block.delay();
  await eventually("it has run", () => worker.status().processed === 1);
  expect(await seen).toBeGreaterThan(0.5);
});

test("a port that is taken fails the start, by name, and leaves nothing behind", async () => {
  await using app = new Lovage("shop", { brokerUrl: "memory://", env: false, configFile: false, logger: silent });
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const address = taken.address();
  const port = typeof address === "object" ? (address?.port ?? 0) : 0;
  const worker = new Worker(app, { healthPort: port });
  await expect(worker.start()).rejects.toMatchObject({ code: "HEALTH_PORT", message: expect.stringContaining(`127.0.0.1:${port}: `) });
  taken.close();
});

test("each process of a worker answers at a port of its own", async () => {
  await using project = new Project();
  const port = await twoPorts();
  const worker = await project.worker("--processes", "2", "--health-port", String(port));
  for (const each of [port, port + 1]) await eventually(`port ${each}`, async () => (await statusOf(each, "/readyz")) === 200, 30_000);
  const names = await Promise.all([port, port + 1].map(async (each) => (await probe(each, "/livez"))?.body));
  expect(names[0]).not.toBe(names[1]);
  await worker.end();
  expect(await probe(port, "/livez")).toBeUndefined();
});

/** The first of two that are free, below those that the system gives to connections. */
async function twoPorts(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    try {
      for (const each of [port, port + 1]) {
        const server = createServer().listen(each, "127.0.0.1");
        await once(server, "listening");
        server.close();
        await once(server, "close");
      }
      return port;
    } catch {
      // taken: another pair
    }
  }
}

/** This thread is the one that is blocked. */
async function fetchInThread(port: number): Promise<number> {
  const { Worker: Thread } = await import("node:worker_threads");
  const code = `
    const { parentPort } = require("node:worker_threads");
    (async () => {
      for (;;) {
        const page = await (await fetch("http://127.0.0.1:${port}/metrics")).text();
        const blocked = Number(/^lovage_event_loop_blocked_seconds (.*)$/m.exec(page)[1]);
        if (blocked > 0.5) return parentPort.postMessage(blocked);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();`;
  const thread = new Thread(code, { eval: true });
  const [blocked] = (await once(thread, "message")) as [number];
  await thread.terminate();
  return blocked;
}
