import { expect, test } from "vitest";
import { Lovage } from "lovage";
import { RedisServer } from "../../support/redis-server.ts";
import { RecordingWorkers } from "../../support/recording-workers.ts";

const settings = { leaseTime: 1 };

function appOf(url: string): Lovage {
  return new Lovage("restart", { brokerUrl: url, resultBackend: url, env: false, configFile: false, ...settings });
}

test("a worker whose Redis is killed consumes again when it is back, without a restart, and runs what it held once", async () => {
  await using redis = await RedisServer.start({ appendonly: true });
  await using workers = new RecordingWorkers({ broker: redis.url, backend: redis.url, settings, concurrency: 4 });
  const worker = await workers.start();
  await using app = appOf(redis.url);
  const before = await Promise.all([0, 1, 2].map((index) => app.sendTask<number>("test.record", [index, 3000])));
  await worker.whenStatus(({ running }) => running === 3);
  await redis.kill();
  await worker.whenStatus(({ consuming }) => !consuming);
  await redis.restart();
  await worker.whenStatus(({ consuming }) => consuming);
  const after = await app.sendTask<number>("test.record", [3, 0]);
  expect(await Promise.all([...before, after].map((result) => result.get({ timeout: 20 })))).toEqual([0, 1, 2, 3]);
  expect(workers.lines().toSorted()).toEqual(["0", "1", "2", "3"]);
});

test("a worker that is started before its Redis waits for it", async () => {
  await using redis = await RedisServer.start();
  await redis.kill();
  await using workers = new RecordingWorkers({ broker: redis.url, settings });
  const started = workers.start();
  await workers.logged(/Trying again|connecting|cannot reach/);
  await redis.restart();
  await started;
  await using app = appOf(redis.url);
  await app.sendTask("test.record", [1, 0]);
  await workers.executed(1, 10_000);
});

test("a worker that is told to stop while Redis is away ends in time all the same", async () => {
  await using redis = await RedisServer.start();
  await using workers = new RecordingWorkers({ broker: redis.url, settings: { ...settings, shutdownGrace: 1 } });
  const worker = await workers.start();
  await redis.kill();
  await worker.whenStatus(({ consuming }) => !consuming);
  const from = performance.now();
  await worker.end("SIGTERM");
  expect(performance.now() - from).toBeLessThan(6000);
});

test.each([
  ["tries as often as it may", { brokerConnectionMaxRetries: 3, brokerConnectionRetryInterval: 0.1 }],
  ["may not try again", { brokerConnectionRetry: false }],
])("a worker that %s ends when its Redis stays away, so that its supervisor knows", async (_how, limits) => {
  await using redis = await RedisServer.start();
  await using workers = new RecordingWorkers({ broker: redis.url, settings: { ...settings, ...limits, shutdownGrace: 1 } });
  const worker = await workers.start();
  await redis.kill();
  await worker.gone;
  expect(worker.process.exitCode).not.toBe(0);
  expect(workers.log.join("\n")).toMatch(/cannot go on: cannot reach the broker/);
});
