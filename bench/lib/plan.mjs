/** Runs workloads round by round, the systems taking turns, and collects what they measured. */
import { mkdirSync } from "node:fs";
import { workloads } from "../workloads/index.mjs";
import { describeMachine } from "./machine.mjs";
import { startRedis } from "./redis-server.mjs";
import { startRole } from "./role.mjs";
import { startSqlite } from "./sqlite-file.mjs";
import { missing, recoverySettings, systems } from "./systems.mjs";

/** Tasks of a run where time is not what decides; `quick` in the second place. */
const fixedCounts = {
  W4: [300, 10],
  W10: [1000, 20],
  W11: [1000, 20],
  W5: [50_000, 500],
  W7: [100, 100],
  W9: [1, 1],
  "idle-worker": [0, 0],
  "idle-fleet": [0, 0],
};
const producerWorkloads = new Set(["W1a", "W1b", "W1c"]);
const onceOnly = new Set(["W5", "W7", "W9", "idle-worker"]);
const fleets = new Set(["lovage-10", "bullmq"]);
const quickWorkloads = new Set(["W1b", "W1c", "W2", "W2r", "W3", "W4", "W10", "W11"]);
const patienceMs = 100_000;

export async function runAll(plan) {
  const run = { ...(await describeMachine()), date: new Date().toISOString(), command: plan.command, rows: [], left: [], failures: [] };
  const stores = { sqlite: await startSqlite(), redis: await startRedis() };
  run.redis = stores.redis.version;
  const chosen = systems.filter((system) => !plan.systems || plan.systems.includes(system.id));
  for (const system of chosen) if (missing(system)) run.left.push({ system: system.id, reason: missing(system) });
  const present = chosen.filter((system) => !missing(system));

  for (const workload of workloads) {
    if (plan.only ? !plan.only.includes(workload.id) : plan.quick && !quickWorkloads.has(workload.id)) continue;
    const store = workload.appendOnly ? { ...stores, redis: await startRedis({ appendOnly: true }) } : stores;
    const entries = entriesOf(workload, present, run);
    for (let round = 1; round <= plan.rounds; round++) {
      for (const entry of entries) await runOne({ run, plan, workload, round, entry, store: store[entry.system.store] });
    }
    if (workload.appendOnly) await store.redis.stop();
  }
  await Promise.all([stores.sqlite.stop(), stores.redis.stop()]);
  return run;
}

function entriesOf(workload, present, run) {
  if (workload.id === "W7") {
    return recoverySettings.flatMap(({ system: id, title, ...config }) => {
      const system = present.find((candidate) => candidate.id === id);
      return system ? [{ system, title, config }] : [];
    });
  }
  if (workload.id === "idle-fleet") present = present.filter((system) => fleets.has(system.id));
  return present.flatMap((system) => {
    const reason = reasonToLeave(workload, system);
    if (reason) run.left.push({ workload: workload.id, system: system.id, reason });
    return reason || isRepeat(workload, system) ? [] : [{ system, title: system.title, config: {} }];
  });
}

function reasonToLeave(workload, system) {
  if (system.store === "sqlite" && workload.id === "W5") return "its bytes are in a file";
  if (workload.id === "idle-worker" && system.python) return "its worker looks at Redis once a second";
  return system.cannot?.[workload.id];
}

/** A second setting of a worker is measured where workers are. */
function isRepeat(workload, system) {
  return system.workerOnly && (producerWorkloads.has(workload.id) || onceOnly.has(workload.id));
}

async function runOne({ run, plan, workload, round, entry, store }) {
  const { system, title, config } = entry;
  const started = [];
  const start = async (role, roleConfig) => {
    const full = { url: store.url, concurrency: system.concurrency, pool: system.pool, synchronous: system.synchronous, ...config };
    const nodeOptions = plan.profileFolder ? profiling(plan.profileFolder, `${workload.id}-${system.id}-${role}-${round}`) : [];
    const handle = startRole(system, role, { ...full, ...roleConfig }, { nodeOptions });
    started.push(handle);
    await handle.event("ready");
    return handle;
  };
  const count = countOf(plan, workload, system);
  try {
    await store.reset();
    const measured = await workload.measure({ system, store, count, start, patienceMs, windowMs: plan.windowMs });
    run.rows.push({ workload: workload.id, system: system.id, title, round, count, ...measured });
    console.log(`${workload.id} ${title} (${round}): ${brief(measured)}`);
  } catch (error) {
    run.failures.push({ workload: workload.id, system: system.id, title, round, error: error.message });
    console.error(`${workload.id} ${title} (${round}) failed: ${error.message}`);
  } finally {
    await Promise.all(started.map((handle) => handle.kill()));
  }
}

function countOf(plan, workload, system) {
  const fixed = fixedCounts[workload.id];
  if (fixed) return fixed[plan.quick ? 1 : 0] / (system.python && workload.id === "W5" ? 10 : 1);
  return Math.max(1, Math.round((system.pace[workload.id] * plan.seconds) / 1000)) * 1000;
}

function profiling(folder, name) {
  mkdirSync(folder, { recursive: true });
  return ["--cpu-prof", `--cpu-prof-dir=${folder}`, `--cpu-prof-name=${name}.cpuprofile`];
}

function brief(measured) {
  return Object.entries(measured)
    .map(([name, value]) => `${name} ${typeof value === "number" ? Number(value.toPrecision(4)) : value}`)
    .join(", ");
}
