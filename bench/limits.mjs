/**
 * `node bench/limits.mjs [tasks] [rounds]`: what limits for all workers cost where they are not reached, beside a queue without any, in turns within each round.
 * For each: microseconds of the worker's processor and of Redis's a task, and tasks a second; the median of the rounds. Measures packages/core/dist as it stands.
 */
import { Redis } from "ioredis";
import { Lovage } from "lovage";
import { Worker } from "lovage/worker";
import { startRedis } from "./lib/redis-server.mjs";

const tasks = Number(process.argv[2] ?? 20_000);
const rounds = Number(process.argv[3] ?? 5);
const silent = { debug() {}, info() {}, warn: console.warn, error: console.error, child: () => silent, isLevelEnabled: () => false };

const MODES = {
  "no limit": {},
  "a rate": { rate: "1000000/s", burst: 1000 },
  "a concurrency": { concurrency: 1_000_000 },
  "a rate for each of 1,000 keys": { rate: "100000/s", burst: 1000, key: true },
};

async function measure(url, limit) {
  const redis = new Redis(url);
  await redis.flushall();
  const settings = { brokerUrl: url, resultBackend: "disabled://", env: false, configFile: false, logger: silent };
  const app = new Lovage("bench", { ...settings, ...(Object.keys(limit).length > 0 && { queueLimits: { celery: limit } }) });
  let done = 0;
  let finished;
  const all = new Promise((resolve) => (finished = resolve));
  const task = app.task("bench.nothing", () => {
    done += 1;
    if (done === tasks) finished();
  });
  for (let from = 0; from < tasks; from += 1000)
    await app.publishMany(Array.from({ length: 1000 }, (_, i) => ({ ...task.call(), options: { limitKey: `key${(from + i) % 1000}` } })));
  const worker = new Worker(app, { concurrency: 256 });
  const redisBefore = await redisCpu(redis);
  const before = process.cpuUsage();
  const since = performance.now();
  await worker.start();
  await all;
  const seconds = (performance.now() - since) / 1000;
  const used = process.cpuUsage(before);
  await worker.stop();
  const redisUsed = (await redisCpu(redis)) - redisBefore;
  await app.close();
  redis.disconnect();
  return { node: (used.user + used.system) / tasks, redis: (redisUsed * 1e6) / tasks, rate: tasks / seconds };
}

async function redisCpu(redis) {
  const info = await redis.info("cpu");
  const of = (name) => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)?.[1]);
  return of("used_cpu_user_main_thread") + of("used_cpu_sys_main_thread");
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

const server = await startRedis();
const found = new Map(Object.keys(MODES).map((mode) => [mode, []]));
await measure(server.url, {}); // warm
for (let round = 0; round < rounds; round++)
  for (const [mode, limit] of Object.entries(MODES)) found.get(mode).push(await measure(server.url, limit));
console.log(`${tasks} tasks that do nothing, ${rounds} rounds, one worker of 256 slots; medians`);
for (const [mode, runs] of found) {
  const of = (what) => median(runs.map((run) => run[what]));
  console.log(
    `${mode.padEnd(32)} ${of("node").toFixed(1).padStart(6)} us of Node  ${of("redis").toFixed(1).padStart(5)} us of Redis  ${Math.round(of("rate")).toString().padStart(7)} tasks/s`,
  );
}
await server.stop?.();
process.exit(0);
