/** `npm run soak`: the fault tests and the simulation in their long forms (`LOVAGE_SOAK=1`), one after the other. */
import { join } from "node:path";
import { root, run } from "./lib/run.mjs";
import { ensurePostgres, ensurePython, ensureRedis } from "./lib/servers.mjs";
import { build, ensureInstalled } from "./lib/workspace.mjs";

await ensureInstalled();
await build();
await ensureRedis();
await ensurePostgres();
const python = await ensurePython();

const env = { ...process.env, LOVAGE_SOAK: "1", ...(python && { LOVAGE_TEST_PYTHON: python }) };
const vitest = join(root, "node_modules/vitest/vitest.mjs");
const args = [
  "run",
  "--project",
  "fault",
  "--project",
  "simulation",
  "--project",
  "interop",
  "--no-file-parallelism",
  ...process.argv.slice(2),
];
process.exit(await run(process.execPath, [vitest, ...args], { env }));
