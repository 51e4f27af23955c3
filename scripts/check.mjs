/** `npm run check`: format, lint, who imports whom, types. No tests. Runs all of them and names those that failed. */
import { join } from "node:path";
import { root, run } from "./lib/run.mjs";
import { build, ensureInstalled } from "./lib/workspace.mjs";

await ensureInstalled();
await build();

const bin = (name) => join(root, "node_modules/.bin", name);
const steps = [
  ["format", bin("oxfmt"), ["--check", "."]],
  ["lint", bin("oxlint"), ["--type-aware", "--deny-warnings"]],
  ["rooms", process.execPath, [join(root, "scripts/check-rooms.mjs")]],
  ["types", bin("tsc"), ["-p", join(root, "packages/core/tsconfig.test.json")]],
  ["types of the examples", bin("tsc"), ["-p", join(root, "examples")]],
  ["types of the shop", bin("tsc"), ["-p", join(root, "examples/shop"), "--noEmit"]],
];

const failed = [];
for (const [name, command, args] of steps) {
  console.log(`- ${name}`);
  if ((await run(command, args)) !== 0) failed.push(name);
}
console.log(failed.length === 0 ? "All checks passed." : `Failed: ${failed.join(", ")}.`);
process.exit(failed.length === 0 ? 0 : 1);
