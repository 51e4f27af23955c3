/**
 * A fair queue measured: how long tasks of nine tenants wait while a tenth has 100,000 queued, and what keys cost.
 *
 *   node scripts/build.mjs && node bench/fairness.mjs [--quick] [--rounds 2] [--task-ms 50] [--only waits,costs]
 *
 * Waits are from the call to the begin of the body, by the machine's clock. Cases take turns, because a machine's speed changes within minutes.
 */
import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { availableParallelism, cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { Lovage } from "lovage";
import { Worker } from "lovage/worker";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string", default: "2" },
    "task-ms": { type: "string", default: "50" },
    only: { type: "string", default: "waits,costs" },
  },
});
const quick = options.quick;
const FLOOD = quick ? 5000 : 100_000;
const SECONDS = quick ? 3 : 15;
const TENANTS = 9;
const PER_SECOND_EACH = 10;
const TASK_MS = Number(process.env.TASK_MS ?? options["task-ms"]);
const WORKERS = 2;
const SLOTS = 50;
const DRAIN = quick ? 5000 : 50_000;

const now = () => performance.timeOrigin + performance.now();
const none = () => undefined;
const logger = {
  debug: none,
  info: none,
  warn: (_, text) => console.error(text),
  error: (_, text) => console.error(text),
  child: () => logger,
};

function appAt(url, fair) {
  return new Lovage("fairness", {
    brokerUrl: url, resultBackend: "disabled://", env: false, configFile: false, logger, taskDefaultQueue: "work", taskQueues: { work: { fair } },
  }); // prettier-ignore
}

/** A worker process: says what the others' tasks waited, and how much of the processor it used. */
async function work() {
  const waited = [];
  let count = 0;
  const app = appAt(process.env.URL, process.env.FAIR === "1");
  app.task("wait", async (sentAt) => {
    if (sentAt > 0) waited.push(now() - sentAt);
    await sleep(TASK_MS);
  });
  app.task("nothing", () => void (count += 1));
  const worker = new Worker(app, { concurrency: Number(process.env.SLOTS), name: `w${process.pid}@bench` });
  await worker.start();
  process.send({ ready: true });
  process.on("message", async (what) => {
    if (what === "tell") process.send({ waits: waited, count, cpuUs: process.cpuUsage() });
    if (what === "stop") {
      await worker.stop({ grace: 0 }).catch(none);
      process.exit(0);
    }
  });
}

class Workers {
  static async start(url, fair, count, slots) {
    const children = Array.from({ length: count }, () =>
      fork(new URL(import.meta.url), [], {
        env: { ...process.env, ROLE: "worker", URL: url, FAIR: fair ? "1" : "", SLOTS: String(slots), TASK_MS: String(TASK_MS) },
      }),
    );
    await Promise.all(children.map((child) => once(child, "message")));
    return new Workers(children);
  }

  constructor(children) {
    this.children = children;
  }

  async tell() {
    return await Promise.all(
      this.children.map(async (child) => {
        child.send("tell");
        return (await once(child, "message"))[0];
      }),
    );
  }

  async kill() {
    await Promise.all(this.children.map((child) => (child.kill("SIGKILL"), once(child, "exit"))));
  }
}

async function redis() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  const server = spawn("redis-server", ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"], {
    stdio: "pipe",
  });
  for await (const part of server.stdout) if (String(part).includes("Ready to accept")) break;
  server.stdout.resume();
  return {
    url: `redis://127.0.0.1:${port}/0`,
    cpuMs: () => cpuOf(server.pid),
    stop: async () => (server.kill("SIGKILL"), await once(server, "exit")),
  };
}

/** User and system time of a process, ms (Linux). */
async function cpuOf(pid) {
  const { readFile } = await import("node:fs/promises");
  const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

const at = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];

/** A system as the case says: its queue, what the tenth tenant has in it, its workers. */
async function begin({ fair, flood, limit }) {
  const server = await redis();
  const app = appAt(server.url, fair);
  if (limit) await app.fairness.set("work", "flood", { limit });
  for (let sent = 0; sent < flood; sent += 1000)
    await app.publishMany(Array.from({ length: 1000 }, () => ({ name: "wait", args: [0], options: { fairKey: "flood" } })));
  return { server, app, workers: await Workers.start(server.url, fair, WORKERS, SLOTS) };
}

async function end({ server, app, workers }) {
  const told = (await workers.tell()).flatMap((each) => each.waits).toSorted((a, b) => a - b);
  const [depth] = await (await app.broker()).depth(["work"]);
  await workers.kill();
  await app.close();
  await server.stop();
  return { begun: told.length, p50: at(told, 0.5), p99: at(told, 0.99), max: told.at(-1), left: depth.ready };
}

/** What nine tenants' tasks wait in each of these systems. All run at the same time, so that what else the machine does holds up all alike. */
async function waits(cases) {
  const systems = [];
  for (const one of cases) systems.push(await begin(one));
  await sleep(3000);
  const until = now() + SECONDS * 1000;
  await Promise.all(
    Array.from({ length: TENANTS }, async (_, tenant) => {
      while (now() < until) {
        await sleep((-Math.log(1 - Math.random()) * 1000) / PER_SECOND_EACH);
        for (const { app } of systems) void app.sendTask("wait", [now()], undefined, { fairKey: `t${tenant}` });
      }
    }),
  );
  await sleep(1000);
  const told = [];
  for (const system of systems) told.push(await end(system));
  return told;
}

/** Processor time of a worker and of Redis for each of many tasks that do nothing. */
async function cost({ fair, keys }) {
  const server = await redis();
  const app = appAt(server.url, fair);
  for (let sent = 0; sent < DRAIN; sent += 1000)
    await app.publishMany(
      Array.from({ length: 1000 }, (_, i) => ({
        name: "nothing",
        args: [],
        ...(keys > 0 && { options: { fairKey: `k${(sent + i) % keys}` } }),
      })),
    );
  const redisBefore = await server.cpuMs();
  const workers = await Workers.start(server.url, fair, 1, 256);
  const startedAt = now();
  let told;
  do {
    await sleep(50);
    [told] = await workers.tell();
  } while (told.count < DRAIN);
  const tookMs = now() - startedAt;
  const redisUs = ((await server.cpuMs()) - redisBefore) * 1000;
  await workers.kill();
  await app.close();
  await server.stop();
  return { perSecond: (DRAIN / tookMs) * 1000, workerUs: (told.cpuUs.user + told.cpuUs.system) / DRAIN, redisUs: redisUs / DRAIN };
}

const WAITS = {
  "idle: nobody else": { fair: true, flood: 0 },
  "100,000 of the tenth, fair queue": { fair: true, flood: FLOOD },
  "100,000 of the tenth, fair queue, at most 80 at once": { fair: true, flood: FLOOD, limit: 80 },
  "100,000 of the tenth, plain queue": { fair: false, flood: FLOOD },
};
const COSTS = {
  "plain queue": { fair: false, keys: 0 },
  "plain queue, with keys": { fair: false, keys: 10 },
  "fair queue, no keys": { fair: true, keys: 0 },
  "fair queue, 10 keys": { fair: true, keys: 10 },
  "fair queue, 10,000 keys": { fair: true, keys: 10_000 },
};

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const ms = (value) => (value === undefined ? "-" : `${value.toFixed(1)} ms`);

if (process.env.ROLE === "worker") await work();
else {
  console.log(`${new Date().toISOString().slice(0, 10)}, ${cpus()[0].model}, ${availableParallelism()} cores, Node ${process.version}`);
  const rounds = Number(options.rounds);
  const results = new Map();
  for (let round = 0; round < rounds; round += 1) {
    if (options.only.includes("waits"))
      for (const [i, told] of (await waits(Object.values(WAITS))).entries())
        results.set(Object.keys(WAITS)[i], [...(results.get(Object.keys(WAITS)[i]) ?? []), told]);
    for (const [name, how] of options.only.includes("costs") ? Object.entries(COSTS) : [])
      results.set(name, [...(results.get(name) ?? []), await cost(how)]);
  }
  console.log(
    `\n| nine tenants, ${PER_SECOND_EACH} tasks a second each | begun | wait p50 | p99 | longest | still queued |\n| --- | --- | --- | --- | --- | --- |`,
  );
  for (const name of Object.keys(WAITS)) {
    const all = results.get(name) ?? [];
    if (all.length === 0) continue;
    const of = (field) =>
      ms(median(all.map((each) => each[field] ?? Infinity)) === Infinity ? undefined : median(all.map((each) => each[field])));
    console.log(
      `| ${name} | ${median(all.map(({ begun }) => begun))} | ${of("p50")} | ${of("p99")} | ${of("max")} | ${median(all.map(({ left }) => left))} |`,
    );
  }
  console.log(`\n| ${DRAIN} tasks that do nothing | tasks a second | worker, us a task | Redis, us a task |\n| --- | --- | --- | --- |`);
  for (const name of Object.keys(COSTS)) {
    const all = results.get(name) ?? [];
    if (all.length === 0) continue;
    const of = (field) => median(all.map((each) => each[field]));
    console.log(`| ${name} | ${Math.round(of("perSecond"))} | ${of("workerUs").toFixed(1)} | ${of("redisUs").toFixed(1)} |`);
  }
}
