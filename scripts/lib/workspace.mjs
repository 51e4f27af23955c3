/** Brings a clone into a state in which it can run: packages installed, sources built. Both cost little when nothing changed. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { must, root } from "./run.mjs";

const core = join(root, "packages/core");

/** Installs when node_modules does not stand for the lockfile as it is. */
export async function ensureInstalled() {
  const lock = await readFile(join(root, "package-lock.json"));
  const wanted = createHash("sha256").update(lock).digest("hex");
  const stamp = join(root, "node_modules", ".installed-for");
  const found = await readFile(stamp, "utf8").catch(() => "");
  if (found === wanted) return;
  console.log("Installing packages ...");
  await must("Installing packages", "npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
  await writeFile(stamp, wanted);
}

/** Compiles packages/core, and copies the Lua and SQL files that the compiler leaves behind. A migration that was renamed must not stay. */
export async function build() {
  await must("The build", process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", core]);
  const others = async (folder) => (await readdir(join(core, folder), { recursive: true })).filter((name) => /\.(lua|sql)$/.test(name));
  const files = await others("src");
  for (const file of await others("dist")) if (!files.includes(file)) await rm(join(core, "dist", file));
  for (const file of files) {
    const target = join(core, "dist", file);
    await mkdir(dirname(target), { recursive: true });
    await cp(join(core, "src", file), target);
  }
  const bin = join(core, "dist/cli/main.js");
  if (existsSync(bin)) await chmod(bin, 0o755);
}
