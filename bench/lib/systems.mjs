/**
 * Who is measured, and with what. `pace` is about how many tasks a second are expected in each workload: it decides how many are
 * sent, so that each run takes a few seconds whoever runs. `cannot` says why a workload is left out.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const venv = fileURLToPath(new URL("../../.cache/python/bin/python", import.meta.url));
const python = process.env.LOVAGE_PYTHON ?? (existsSync(venv) ? venv : undefined);

const lovage = {
  adapter: "lovage",
  store: "redis",
  pace: { W1a: 12_000, W1b: 120_000, W1c: 150_000, W2: 80_000, W2r: 50_000, W3: 50_000 },
};
const bullmq = {
  adapter: "bullmq",
  package: "bullmq",
  store: "redis",
  pace: { W1a: 9000, W1b: 35_000, W1c: 25_000, W2: 15_000, W2r: 14_000, W3: 9000 },
};
const celery = {
  python,
  pool: "prefork",
  store: "redis",
  fillsBy: "bulk",
  pace: { W1a: 2000, W1b: 2000, W1c: 2000, W2: 1200, W2r: 900, W3: 800 },
};
const lovageSqlite = {
  adapter: "lovage-sqlite",
  store: "sqlite",
  concurrency: 256,
  pace: { W1a: 8000, W1b: 40_000, W1c: 60_000, W2: 30_000, W2r: 20_000, W3: 20_000 },
};

const noWorkflows = { W10: "has no workflows", W11: "has no workflows" };

export const systems = [
  { ...lovage, id: "lovage-256", title: "Lovage, 256 slots", concurrency: 256 },
  { ...lovage, id: "lovage-10", title: "Lovage, 10 slots", concurrency: 10, workerOnly: true },
  { ...bullmq, id: "bullmq", title: "BullMQ, concurrency 100", concurrency: 100 },
  { ...bullmq, id: "bullmq-500", title: "BullMQ, concurrency 500", concurrency: 500, workerOnly: true },
  {
    id: "prototype",
    title: "Prototype (an upper bound)",
    adapter: "prototype",
    store: "redis",
    concurrency: 256,
    pace: { ...lovage.pace, W1b: 150_000, W1c: 180_000, W2: 120_000, W2r: 80_000 },
    cannot: { ...noWorkflows, W4: "polls", W5: "is no product", W9: "is no product", "idle-worker": "polls" },
  },
  {
    id: "bee-queue",
    title: "bee-queue, concurrency 100",
    adapter: "bee-queue",
    package: "bee-queue",
    store: "redis",
    concurrency: 100,
    pace: { W1a: 12_000, W1b: 80_000, W1c: 80_000, W2: 20_000, W2r: 20_000, W3: 18_000 },
    cannot: noWorkflows,
  },
  {
    id: "celery-node",
    title: "celery-node, no limit",
    adapter: "celery-node",
    package: "celery-node",
    store: "redis",
    concurrency: Infinity,
    fillsBy: "concurrent",
    pace: { W1a: 11_000, W1b: 40_000, W2r: 11_000, W3: 8000 },
    cannot: { ...noWorkflows, W1c: "has no call for many", W2: "cannot turn results off" },
  },
  { ...celery, id: "celery-prefork", title: "Celery, prefork -c 2", concurrency: 2 },
  { ...celery, id: "celery-solo", title: "Celery, solo", concurrency: 1, pool: "solo", workerOnly: true },
  { ...lovageSqlite, id: "lovage-sqlite", title: "Lovage on SQLite, `synchronous=NORMAL`" },
  { ...lovageSqlite, id: "lovage-sqlite-full", title: "Lovage on SQLite, `synchronous=FULL`", synchronous: "FULL" },
  {
    id: "plainjob",
    title: "plainjob, `synchronous=NORMAL`",
    adapter: "plainjob",
    package: "plainjob",
    store: "sqlite",
    concurrency: 1,
    pace: { W1a: 30_000, W1b: 30_000, W1c: 100_000, W2: 10_000, W3: 8000 },
    cannot: { ...noWorkflows, W2r: "keeps no results", W4: "hands no result back, and looks once a second for new jobs" },
  },
];

/** How W7 is run: each system as it comes, and as fast to recover as its settings allow. */
export const recoverySettings = [
  { system: "lovage-256", title: "Lovage, defaults" },
  { system: "bullmq", title: "BullMQ, defaults (lock and stalled check 30 s)" },
  { system: "bullmq", title: "BullMQ, lock and stalled check 5 s", stalledAfterMs: 5000 },
  { system: "bee-queue", title: "bee-queue, stalled check 5 s", stalledAfterMs: 5000 },
  { system: "celery-node", title: "celery-node, defaults" },
  { system: "celery-prefork", title: "Celery, defaults (early ack)" },
  { system: "celery-prefork", title: "Celery, late ack, visibility timeout 30 s", acksLate: true, prefetch: 1, visibilityTimeout: 30 },
];

/** Why this system cannot be run on this machine; undefined when it can. */
export function missing(system) {
  if ("python" in system && !system.python) return "no Python with Celery (set LOVAGE_PYTHON)";
  if (!system.package) return undefined;
  const require = createRequire(import.meta.url);
  const needed = system.package === "plainjob" ? ["plainjob", "better-sqlite3"] : [system.package];
  const absent = needed.find((name) => !require.resolve.paths(name).some((folder) => existsSync(`${folder}/${name}`)));
  return absent && `${absent} is not installed here`;
}
