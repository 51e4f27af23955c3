/**
 * `node bench/limits-waiting.mjs [keys] [tasks of each] [workers] ["commands"]`: what a limit costs Redis under which most tasks have to wait
 * their turn: each key may start one task a second, and all that there are wait in the queue before the workers start. Measures packages/core/dist as it stands.
 * Says microseconds of Redis's processor a task, without publishing, and how often a task had to wait: the slower the machine, the more keys have room again; with `commands` also how often Redis ran which command, inside scripts too, for a task.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { Lovage } from "lovage";
import { Worker } from "lovage/worker";
import { startRedis } from "./lib/redis-server.mjs";

let waits = 0;
const silent = {
  debug(_, text) {
    if (text.endsWith("waits for a limit")) waits += 1;
  },
  info() {},
  warn() {},
  error() {},
  child: () => silent,
  isLevelEnabled: (level) => level === "debug",
};
const REPORT_MS = 100;

function appOn(url) {
  const settings = { brokerUrl: url, resultBackend: "disabled://", env: false, configFile: false, logger: silent };
  return new Lovage("bench", { ...settings, queueLimits: { celery: { rate: 1, key: true } } });
}

async function work(url) {
  const app = appOn(url);
  let done = 0;
  app.task("bench.nothing", () => {
    done += 1;
  });
  await new Worker(app, { concurrency: 200 }).start();
  process.on("disconnect", () => process.exit());
  setInterval(() => process.send({ done, waits }), REPORT_MS);
}

async function used(redis) {
  const info = await redis.info("cpu");
  const of = (name) => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)?.[1]);
  return (of("used_cpu_user_main_thread") + of("used_cpu_sys_main_thread")) * 1e6;
}

async function commands(redis) {
  const info = await redis.info("commandstats");
  return new Map(
    [...info.matchAll(/cmdstat_([^:]+):calls=(\d+),usec=(\d+)/g)].map(([, name, calls, usec]) => [name, { calls: +calls, usec: +usec }]),
  );
}

async function measure(keys, each, workers, wantsCommands) {
  const server = await startRedis();
  const redis = new Redis(server.url);
  const app = appOn(server.url);
  const task = app.task("bench.nothing", () => {});
  const count = keys * each;
  for (let from = 0; from < count; from += 1000)
    await app.publishMany(
      Array.from({ length: Math.min(1000, count - from) }, (_, i) => ({
        ...task.call(),
        options: { limitKey: `customer${(from + i) % keys}` },
      })),
    );
  await redis.config("RESETSTAT");
  const before = await used(redis);
  const since = performance.now();
  const done = new Map();
  const total = (what) => [...done.values()].reduce((sum, report) => sum + report[what], 0);
  const children = Array.from({ length: workers }, () => fork(fileURLToPath(import.meta.url), ["--work", server.url]));
  await new Promise((resolve) => {
    for (const child of children)
      child.on("message", (ran) => {
        done.set(child, ran);
        if (total("done") >= count) resolve();
      });
  });
  const seconds = (performance.now() - since) / 1000;
  const us = ((await used(redis)) - before) / count;
  console.log(
    `${keys} keys at 1/s, ${each} tasks each, ${workers} workers of 200 slots: ${us.toFixed(1)} us of Redis a task, ${(total("waits") / count).toFixed(2)} waits a task, done after ${seconds.toFixed(1)} s`,
  );
  if (wantsCommands)
    for (const [name, { calls, usec }] of [...(await commands(redis))].toSorted((a, b) => b[1].usec - a[1].usec).slice(0, 24))
      console.log(
        `  ${name.padEnd(18)} ${(calls / count).toFixed(3).padStart(8)} calls a task ${(usec / count).toFixed(2).padStart(8)} us a task`,
      );
  for (const child of children) {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  await app.close();
  redis.disconnect();
  await server.stop?.();
}

if (process.argv[2] === "--work") await work(process.argv[3]);
else {
  const [keys = 10_000, each = 6, workers = 4] = process.argv.slice(2, 5).map(Number);
  await measure(keys, each, workers, process.argv[5]);
  process.exit(0);
}
