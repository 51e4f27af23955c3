/**
 * Who may import whom, and who may touch what is global: the layout of packages/core/src, held by a check.
 * A room is a folder; a driver's room has two parts (`brokers/redis`). The table is the rule; CONTRIBUTING.md explains it.
 */
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, normalize, relative, sep } from "node:path";
import { root } from "./lib/run.mjs";

const source = join(root, "packages/core/src");

const interfaces = ["brokers", "results"];
const drivers = (kind) => ["brokers", "results", "protocol", `stores/${kind}`];

/** Room -> rooms it may import besides itself and `shared`. `brokers` and `results` alone mean the interface files. */
const mayImport = {
  shared: [],
  protocol: [],
  schedule: [],
  canvas: ["protocol"],
  "stores/redis": ["protocol"],
  "stores/sqlite": ["protocol"],
  brokers: ["protocol", "results"],
  results: ["protocol"],
  "brokers/memory": ["brokers", "results", "protocol"],
  "results/memory": ["results", "protocol"],
  "brokers/redis": drivers("redis"),
  "results/redis": drivers("redis"),
  "brokers/sqlite": drivers("sqlite"),
  "results/sqlite": drivers("sqlite"),
  app: ["protocol", "canvas", ...interfaces],
  worker: ["app", "protocol", "canvas", "schedule", ...interfaces],
  beat: ["app", "protocol", "canvas", "schedule", ...interfaces],
  outbox: ["app", "protocol", "brokers", "stores/sqlite"],
  testing: "all but cli",
  cli: "all",
  index: ["app", "protocol", "canvas", ...interfaces],
};

/** Files that may import more, each with its reason. */
const exceptions = {
  "app/connect.ts": /^(stores|brokers|results)\//, // the one place that opens drivers, and knows the shape of their specs
};

/** Globals that only some files may touch. */
const restricted = [
  { what: "Date.now", found: /\bDate\.now\(|\bnew Date\(\)/, allowed: /^shared\// },
  { what: "setTimeout or setInterval", found: /(?<![.\w])set(Timeout|Interval)\(/, allowed: /^shared\// },
  { what: "Math.random", found: /\bMath\.random\b/, allowed: /^shared\// },
  { what: "process.env", found: /\bprocess\.env\b/, allowed: /^(cli\/|app\/environment\.ts)/ },
  { what: "process.argv", found: /\bprocess\.argv\b/, allowed: /^cli\// },
  { what: "process.exit", found: /\bprocess\.exit\(/, allowed: /^(cli\/|worker\/pool\/\w+-entry\.ts)/ }, // a child of a pool ends itself
];

const roomOf = (path) => {
  const parts = path.split("/");
  if (parts.length === 1) return "index";
  const isDriver = ["stores", "brokers", "results"].includes(parts[0]) && parts.length > 2;
  return isDriver ? `${parts[0]}/${parts[1]}` : parts[0];
};

const problems = [];
const files = (await readdir(source, { recursive: true })).map((name) => name.split(sep).join("/"));
for (const file of files.filter((name) => name.endsWith(".ts") && !/\.test(-d)?\.ts$/.test(name))) {
  const text = await readFile(join(source, file), "utf8");
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "");
  const room = roomOf(file);
  const allowed = mayImport[room];
  if (allowed === undefined) problems.push(`${file}: the room "${room}" is not in the table of scripts/check-rooms.mjs`);
  for (const [, specifier] of code.matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g)) {
    const target = relative(source, normalize(join(source, dirname(file), specifier)))
      .split(sep)
      .join("/");
    const other = roomOf(target);
    if (other === room || other === "shared" || allowed === "all") continue;
    if (allowed === "all but cli" && other !== "cli") continue;
    if (Array.isArray(allowed) && allowed.includes(other)) continue;
    if (exceptions[file]?.test(target)) continue;
    problems.push(`${file}: "${room}" may not import "${other}" (${specifier})`);
  }
  for (const { what, found, allowed: where } of restricted) {
    if (found.test(code) && !where.test(file)) problems.push(`${file}: ${what} is not for this room`);
  }
}

for (const problem of problems) console.error(problem);
process.exit(problems.length === 0 ? 0 : 1);
