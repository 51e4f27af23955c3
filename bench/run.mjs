/**
 * `npm run bench`: Lovage beside its peers, on this machine, in one run. Systems take turns within each round of a workload, each
 * in fresh processes, on one redis-server of the bench's own; what is reported is the median of the rounds.
 * `npm run bench -- --help` lists the options.
 */
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { must } from "../scripts/lib/run.mjs";
import { build, ensureInstalled } from "../scripts/lib/workspace.mjs";

const help = `npm run bench -- [options]
  --quick             a few seconds: only Lovage, only that everything completes
  --only W1a,W2       these workloads (W1a W1b W1c W2 W2r W3 W4 W5 W7 W9 W10 W11 idle-worker idle-fleet)
  --systems a,b       these systems (lovage-256 lovage-10 bullmq ... see lib/systems.mjs)
  --rounds 3          how often each is run
  --seconds 3         about how long each run takes
  --window 10         seconds that idle systems are watched
  --cpu-prof folder   writes a CPU profile of each Node process there
  --out file          where the measured figures go, as JSON (bench/results/<date>.json)
  --docs              also writes the tables into docs/performance.md
  --no-build          measures packages/core/dist as it stands`;

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string" },
    systems: { type: "string" },
    rounds: { type: "string" },
    seconds: { type: "string" },
    window: { type: "string" },
    "cpu-prof": { type: "string" },
    out: { type: "string" },
    docs: { type: "boolean", default: false },
    "no-build": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (options.help) {
  console.log(help);
  process.exit(0);
}

const here = fileURLToPath(new URL(".", import.meta.url));
if (!options["no-build"]) {
  await ensureInstalled();
  await build();
}
if (!options.quick && !existsSync(`${here}node_modules`)) await must("installing the peers", "npm", ["ci"], { cwd: here });

const { runAll } = await import("./lib/plan.mjs");
const { report, updateDocs } = await import("./lib/report.mjs");
const run = await runAll({
  quick: options.quick,
  only: options.only?.split(","),
  systems: options.quick ? ["lovage-256", "lovage-sqlite"] : options.systems?.split(","),
  rounds: Number(options.rounds ?? (options.quick ? 1 : 3)),
  seconds: Number(options.seconds ?? (options.quick ? 0.1 : 3)),
  windowMs: Number(options.window ?? 10) * 1000,
  profileFolder: options["cpu-prof"],
  command: ["npm run bench", ...(process.argv.length > 2 ? ["--"] : []), ...process.argv.slice(2)].join(" "),
});
if (!options.quick) {
  const out = options.out ?? `${here}results/${run.date.slice(0, 10)}.json`;
  await mkdir(dirname(out), { recursive: true });
  await writeFile(out, JSON.stringify(run, null, 1) + "\n");
  if (options.docs) await updateDocs(report(run));
  console.log(`\n${report(run)}\nwritten: ${out}`);
}
process.exit(run.failures.length > 0 ? 1 : 0);
