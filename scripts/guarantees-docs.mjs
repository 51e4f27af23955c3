/**
 * `npm run guarantees`: plays the crash matrix in its long form and writes what it measured into `docs/guarantees.md`.
 * With `--only-write` it takes the figures of the last run, which `npm run soak` leaves in `.cache/` too.
 */
import { readFile, writeFile } from "node:fs/promises";
import { cpus, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { output, root, run } from "./lib/run.mjs";
import { ensureRedis } from "./lib/servers.mjs";
import { build, ensureInstalled } from "./lib/workspace.mjs";

const PAGE = join(root, "docs/guarantees.md");
const MEASURED = join(root, ".cache/crash-matrix.json");
const COMMAND = "npm run guarantees";

if (!process.argv.includes("--only-write")) {
  await ensureInstalled();
  await build();
  await ensureRedis();
  const vitest = join(root, "node_modules/vitest/vitest.mjs");
  const args = [vitest, "run", "--project", "fault", "packages/core/test/fault/crash-matrix.test.ts"];
  const code = await run(process.execPath, args, { env: { ...process.env, LOVAGE_SOAK: "1" } });
  if (code !== 0) process.exit(code);
}
const { at, cells } = JSON.parse(await readFile(MEASURED, "utf8"));
const machine = `${cpus().length} cores (${cpus()[0]?.model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GiB, ${type()} ${release()}`;
const redis = /v=(\S+)/.exec((await output("redis-server", ["--version"])) ?? "")?.[1] ?? "unknown";
const page = await readFile(PAGE, "utf8");
const text = `<!-- measured -->\n\n${at.slice(0, 10)}, ${machine}, Node ${process.versions.node}, Redis ${redis}. Command: \`${COMMAND}\`\n\n${table(cells)}\n\n<!-- /measured -->`;
await writeFile(
  PAGE,
  page.replace(/<!-- measured -->.*<!-- \/measured -->/s, () => text),
);

function table(measured) {
  const modes = [...new Set(measured.map(({ mode }) => mode))];
  const faults = [...new Set(measured.map(({ fault }) => fault))];
  const cell = (fault, mode) => {
    const found = measured.find((one) => one.fault === fault && one.mode === mode);
    if (!found) return "not played";
    const { accepted, lost, repeated, recoveryMs, dead } = found;
    const time = recoveryMs === undefined ? "" : `, ${(recoveryMs / 1000).toFixed(1)} s`;
    return `${lost} / ${repeated} of ${accepted}${dead > 0 ? `, ${dead} dead letters` : ""}${time}`;
  };
  const rows = faults.map((fault) => [fault, ...modes.map((mode) => cell(fault, mode))]);
  return [["", ...modes], ["", ...modes].map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}
