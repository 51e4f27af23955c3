/** What callers of `delay()` see while a real broker is down, comes back, or stands still. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as wait } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { BrokerUnavailableError, Lovage, type LovageOptions, PublishFailedError, PublishTimeoutError } from "lovage";
import { RedisServer } from "../support/redis-server.ts";

const TIMEOUT_MS = 2000;
const LATE_MS = 500;
/** How long the broker is away from a call that waits for it. */
const SHORT_OUTAGE_MS = 400;
/** Three times the `publishTimeout` of the calls that wait in a buffer. */
const LONG_OUTAGE_MS = 1500;

function appOn(server: RedisServer, settings: LovageOptions = {}): Lovage {
  const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
  return new Lovage("outage", { brokerUrl: server.url, publishTimeout: TIMEOUT_MS / 1000, logger: silent, ...settings });
}

/** After a forced collection. */
function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}

interface Rejection {
  readonly error: unknown;
  readonly afterMs: number;
}

async function callsThatFail(app: Lovage, count: number): Promise<Rejection[]> {
  const add = app.tasks.get("outage.add") ?? app.task("outage.add", (x: number) => x);
  const from = performance.now();
  const calls = Array.from({ length: count }, async (_, index) => {
    try {
      await add.delay(index as never);
      return undefined;
    } catch (error) {
      return { error, afterMs: performance.now() - from };
    }
  });
  return (await Promise.all(calls)).filter((each) => each !== undefined);
}

test("broker down: a thousand calls reject in time with typed errors, the loop turns, the heap stays", async ({ annotate }) => {
  await using server = await RedisServer.start();
  await using app = appOn(server);
  await app.task("outage.warm", () => 1).delay();
  await server.kill();
  await callsThatFail(app, 1000);
  const lag = monitorEventLoopDelay({ resolution: 5 });
  const heapBefore = heapBytes();
  lag.enable();
  const failures = await callsThatFail(app, 1000);
  lag.disable();
  await callsThatFail(app, 1000);
  const grownBytes = heapBytes() - heapBefore;
  expect(failures).toHaveLength(1000);
  for (const { error, afterMs } of failures) {
    expect(error).toBeInstanceOf(PublishFailedError);
    expect((error as PublishFailedError).calls[0]?.fate).toBe("refused");
    expect(afterMs).toBeLessThan(TIMEOUT_MS + LATE_MS);
  }
  const [first] = failures.map(({ error }) => error as PublishFailedError);
  expect(first?.message).toContain("was not sent");
  expect(first?.message).not.toContain("for certain");
  expect(first?.cause).toBeInstanceOf(BrokerUnavailableError);
  const slowest = Math.max(...failures.map(({ afterMs }) => afterMs));
  await annotate(
    `the last of 1,000 rejected after ${Math.round(slowest)} ms; lag ${(lag.percentile(99) / 1e6).toFixed(1)} ms at p99, ` +
      `${(lag.max / 1e6).toFixed(1)} ms at most; the heap grew by ${Math.round(grownBytes / 1024)} KiB in 2,000 calls`,
  );
  expect(lag.percentile(99) / 1e6).toBeLessThan(50);
  expect(grownBytes).toBeLessThan(4 * 1024 * 1024);
});

test("broker back within the timeout: the call succeeds", async () => {
  await using server = await RedisServer.start();
  await using app = appOn(server);
  const add = app.task("outage.add", (x: number) => x);
  await add.delay(1);
  await server.kill();
  const sent = add.delay(2);
  sent.catch(() => undefined);
  await wait(SHORT_OUTAGE_MS);
  await server.restart();
  await sent;
  const [depth] = await (await app.broker()).depth(["celery"]);
  expect(depth?.ready).toBe(1); // the first went with the killed server
});

test("a publish buffer: calls outlast publishTimeout, stay pending, and all are held once the broker is back", async () => {
  await using server = await RedisServer.start({ appendonly: true });
  await using app = appOn(server, { publishTimeout: LONG_OUTAGE_MS / 3000, publishBuffer: 600, publishBufferTimeout: 30 });
  const add = app.task("outage.add", (x: number) => x);
  await add.delay(0);
  await server.kill();
  let held = 0;
  const sent = Array.from({ length: 500 }, async (_, index) => {
    await add.delay(index);
    held += 1;
  });
  await wait(LONG_OUTAGE_MS);
  expect(held).toBe(0); // nothing is said to be sent that no broker holds
  const more = await callsThatFail(app, 200); // there is no room for them
  expect(more).toHaveLength(200);
  for (const { error } of more) expect(error).toBeInstanceOf(PublishTimeoutError);
  await server.restart();
  await Promise.all(sent);
  expect(held).toBe(500);
  const [depth] = await (await app.broker()).depth(["celery"]);
  expect(depth?.ready).toBe(501);
});

test("broker standing still: nobody can know whether it holds the message, and the error says so", async () => {
  await using server = await RedisServer.start();
  await using app = appOn(server);
  const add = app.task("outage.add", (x: number) => x);
  await add.delay(1);
  server.pause();
  try {
    const [failure] = await callsThatFail(app, 1);
    expect(failure?.error).toBeInstanceOf(PublishFailedError);
    expect(failure?.error).toMatchObject({ calls: [{ fate: "unknown" }] });
    expect(failure?.afterMs).toBeLessThan(TIMEOUT_MS + LATE_MS);
  } finally {
    server.resume();
  }
});
