/** What a prober sees of a worker whose event loop is blocked, whose broker is away, or whose link died without a word. */
import { setTimeout as wait } from "node:timers/promises";
import { Lovage } from "lovage";
import { Worker } from "lovage/worker";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { metric, probe, type Probed, statusOf } from "../support/health-probe.ts";
import { RecordingWorkers } from "../support/recording-workers.ts";
import { freePort, RedisServer } from "../support/redis-server.ts";
import { temporaryStores } from "../support/stores.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";

const isSoak = process.env.LOVAGE_SOAK === "1";
/** Longer than a worker may be busy with itself and still be called ready. */
const BLOCK_MS = isSoak ? 60_000 : 7000;
const LEASE_S = isSoak ? 10 : 2;
const PROBE_EVERY_MS = 50;
/** What is promised. */
const RED_WITHIN_MS = 15_000;

const appOf = (brokerUrl: string): Lovage => new Lovage("prober", { brokerUrl, resultBackend: brokerUrl, env: false, configFile: false });

test.each(temporaryStores())(
  "$kind: while a task blocks the event loop its lease is kept, it runs once, and health is told at once",
  async ({ open }) => {
    await using store = await open();
    const port = await freePort();
    const settings = { leaseTime: LEASE_S, workerHealthPort: port };
    await using workers = new RecordingWorkers({ broker: store.url, backend: store.url, concurrency: 2, settings });
    await using app = appOf(store.url);
    await workers.start();
    const blocked = await app.sendTask<number>("test.block", [1, BLOCK_MS]);
    await eventually("the loop is blocked", async () => {
      const page = (await probe(port, "/metrics"))?.body ?? "";
      return (metric(page, "lovage_event_loop_blocked_seconds") ?? 0) > 0.5;
    });
    await using others = new RecordingWorkers({ broker: store.url, backend: store.url, settings: { leaseTime: LEASE_S } });
    await others.start(); // would take what is swept
    const probes: Probed[] = [];
    const leaseAges: number[] = [];
    let saidBlocked = false;
    for (;;) {
      const live = await probe(port, "/livez");
      const ready = await probe(port, "/readyz");
      const metrics = await probe(port, "/metrics");
      if (!live || !ready || !metrics) throw new Error("health did not answer");
      const blockedS = metric(metrics.body, "lovage_event_loop_blocked_seconds") as number;
      if (blockedS === 0) break;
      probes.push(live, ready, metrics);
      leaseAges.push(metric(metrics.body, "lovage_lease_age_seconds") as number);
      expect(live).toMatchObject({ status: 200 });
      if (ready.status === 503) saidBlocked ||= ready.body.includes("event loop has been blocked for");
      await wait(PROBE_EVERY_MS);
    }
    await blocked.get({ timeout: 30 });
    expect(workers.lines()).toEqual(["1"]);
    expect(others.lines()).toEqual([]);
    expect(saidBlocked).toBe(true);
    expect(Math.max(...leaseAges)).toBeLessThan(LEASE_S); // never ran out
    const took = probes.map(({ tookMs }) => tookMs).toSorted((a, b) => a - b);
    const at = (share: number): number => took[Math.floor((took.length - 1) * share)] as number;
    // oxlint-disable-next-line no-console -- figures for whoever reads the run
    console.log(
      `${store.url.split(":")[0]}: ${took.length} probes in ${BLOCK_MS / 1000} s of a blocked loop: p50 ${at(0.5).toFixed(1)} ms, p99 ${at(0.99).toFixed(1)} ms; lease at most ${Math.max(...leaseAges).toFixed(2)} s old of ${LEASE_S} s`,
    );
    expect(at(0.5)).toBeLessThan(50);
    await eventually("green again", async () => (await statusOf(port, "/readyz")) === 200);
  },
);

interface Faulty {
  readonly redis: RedisServer;
  readonly proxy: TcpProxy;
}

/** How the answers stop, and come again. */
const SILENCES = [
  {
    how: "the link dies without a word",
    begin: async ({ proxy }: Faulty): Promise<void> => void (proxy.isSilent = true),
    end: async ({ proxy }: Faulty): Promise<void> => void (proxy.isSilent = false),
  },
  {
    how: "the server stands still",
    begin: async ({ redis }: Faulty): Promise<void> => redis.pause(),
    end: async ({ redis }: Faulty): Promise<void> => redis.resume(),
  },
  {
    how: "the server is killed",
    begin: ({ redis }: Faulty): Promise<void> => redis.kill(),
    end: ({ redis }: Faulty): Promise<void> => redis.restart(),
  },
];

/** With a long lease it is the consumer that must notice; with the default one the guard, too. */
const LOADS = [
  { load: "an idle worker", busy: 0, leaseTime: 10 },
  { load: "every slot busy", busy: 2, leaseTime: 60 },
];

/** In the short form: a dead link of a busy worker, and a server that stands still. */
const SHORT = new Set([1, 2]);
const CASES = SILENCES.flatMap((silence) => LOADS.map((load) => ({ ...silence, ...load })));

test.each(CASES.filter((_, i) => isSoak || SHORT.has(i)))(
  "red within 15 s when $how, with $load, and green again after",
  async ({ begin, end, busy, leaseTime }) => {
    await using redis = await RedisServer.start({ appendonly: true });
    await using proxy = await TcpProxy.start(redis.port);
    const port = await freePort();
    await using workers = new RecordingWorkers({ broker: proxy.url, concurrency: 2, settings: { leaseTime, workerHealthPort: port } });
    await using app = new Lovage("prober", { brokerUrl: redis.url, env: false, configFile: false });
    const worker = await workers.start();
    for (let i = 0; i < busy; i++) await app.sendTask("test.reason", [i]); // they run until they are told to stop
    await worker.whenStatus(({ running }) => running === busy);
    expect(await statusOf(port, "/livez")).toBe(200);
    expect(await statusOf(port, "/readyz")).toBe(200);
    await begin({ redis, proxy });
    const begunAt = performance.now();
    const red = await eventually(
      "red",
      async () => {
        const page = await probe(port, "/livez");
        return page?.status === 503 ? page : undefined;
      },
      RED_WITHIN_MS,
    );
    const tookMs = performance.now() - begunAt;
    expect(red.body).toMatch(leaseTime > 10 ? /consuming has stopped/ : /consuming has stopped|has not been renewed/);
    expect(await statusOf(port, "/readyz")).toBe(503);
    await end({ redis, proxy });
    await eventually(
      "green again",
      async () => (await statusOf(port, "/livez")) === 200 && (await statusOf(port, "/readyz")) === 200,
      30_000,
    );
    // oxlint-disable-next-line no-console -- figures for whoever reads the run
    console.log(`red after ${(tookMs / 1000).toFixed(1)} s: ${red.body.trim()}`);
  },
);

test("a worker whose slots are all busy computing is green all the while", { timeout: isSoak ? 600_000 : 180_000 }, async () => {
  await using redis = await RedisServer.start();
  const port = await freePort();
  const tasks = isSoak ? 6000 : 300;
  await using workers = new RecordingWorkers({ broker: redis.url, concurrency: 64, settings: { workerHealthPort: port } });
  await using app = new Lovage("prober", { brokerUrl: redis.url, env: false, configFile: false });
  await workers.start();
  await app.remote<[index: number, ms: number], number>("test.block").map(Array.from({ length: tasks }, (_, i) => [i, 20]));
  const probes: Probed[] = [];
  while (workers.lines().length < tasks) {
    for (const path of ["/livez", "/readyz"]) {
      const page = await probe(port, path);
      if (page === undefined) throw new Error("health did not answer");
      probes.push(page);
    }
    await wait(PROBE_EVERY_MS);
  }
  expect(probes.filter(({ status }) => status !== 200)).toEqual([]);
  const took = probes.map(({ tookMs }) => tookMs).toSorted((a, b) => a - b);
  // oxlint-disable-next-line no-console -- a figure for whoever reads the run
  console.log(`${took.length} probes of a busy worker, p99 ${(took[Math.floor((took.length - 1) * 0.99)] as number).toFixed(1)} ms`);
});

test("a worker says why it is not ready before its broker can be reached, and while it stops", async () => {
  const redisPort = await freePort();
  const port = await freePort();
  await using app = new Lovage("early", { brokerUrl: `redis://127.0.0.1:${redisPort}/0`, env: false, configFile: false });
  let finish = (): void => undefined;
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const hold = app.task("early.hold", () => finished);
  await using worker = new Worker(app, { concurrency: 1, healthPort: port });
  const starting = worker.start();
  const early = await eventually("the reason", async () => {
    const page = await probe(port, "/readyz");
    return page?.status === 503 && page.body.includes(`127.0.0.1:${redisPort}`) ? page : undefined;
  });
  expect(JSON.parse(early.body)).toMatchObject({ ok: false, state: "starting" });
  expect(await statusOf(port, "/livez")).toBe(200);
  await using _redis = await RedisServer.start({ port: redisPort });
  await starting;
  expect(await statusOf(port, "/readyz")).toBe(200);
  await hold.delay();
  await eventually("it runs", () => worker.status().running === 1);
  await worker.quiet();
  expect(await probe(port, "/readyz")).toMatchObject({ status: 503, body: expect.stringContaining("the worker is quiet") });
  expect(await statusOf(port, "/livez")).toBe(200);
  await worker.resume();
  await eventually("ready again", async () => (await statusOf(port, "/readyz")) === 200);
  const stopping = worker.stop();
  const late = await probe(port, "/readyz");
  expect(late).toMatchObject({ status: 503 });
  expect(JSON.parse(late?.body ?? "")).toMatchObject({ state: "warm", reasons: ["the worker is stopping"] });
  expect(await statusOf(port, "/livez")).toBe(200);
  finish();
  await stopping;
  expect(await probe(port, "/livez")).toBeUndefined();
});

test("a worker that stops while its broker is away tells so to the end, and leaves nothing behind", async () => {
  await using redis = await RedisServer.start();
  const port = await freePort();
  await using app = new Lovage("late", { brokerUrl: redis.url, env: false, configFile: false, workerHealthPort: port });
  let seen: Probed | undefined;
  app.onWorkerStop(async () => {
    // By now the guard's connection has been given up, and its thread with it.
    seen = await eventually("the last words", () => probe(port, "/readyz"), 5000);
  });
  const worker = new Worker(app, { concurrency: 1 });
  await worker.start();
  await redis.kill();
  await eventually("it has noticed", async () => (await statusOf(port, "/readyz")) === 503);
  await worker.stop("cold");
  expect(seen).toMatchObject({ status: 503 });
  expect(await probe(port, "/readyz")).toBeUndefined();
});
