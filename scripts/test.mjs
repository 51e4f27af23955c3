/**
 * `npm test`: installs and builds what is missing, finds the servers the tests need, runs all tests.
 * Arguments go to vitest: `npm test -- --project unit`, `npm test -- packages/core/test/integration`.
 */
import { join } from "node:path";
import { root, run } from "./lib/run.mjs";
import { ensureChromium, ensurePostgres, ensurePython, ensureRedis } from "./lib/servers.mjs";
import { build, ensureInstalled } from "./lib/workspace.mjs";

await ensureInstalled();
await build();
await ensureRedis();
await ensurePostgres();
const python = await ensurePython();
const chromium = await ensureChromium();
if (!python) console.log("No Python with Celery: the interoperability tests are reported as skipped.");
if (!chromium) console.log("No Chromium: the tests of the example's page are reported as skipped.");

const env = {
  ...process.env,
  ...(python && { LOVAGE_TEST_PYTHON: python }),
  ...(chromium && { LOVAGE_TEST_CHROMIUM: chromium }),
};
const vitest = join(root, "node_modules/vitest/vitest.mjs");
process.exit(await run(process.execPath, [vitest, "run", ...process.argv.slice(2)], { env }));
