import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, release, totalmem, type } from "node:os";
import { systems } from "./systems.mjs";

/** What a reader needs to know to repeat a run: the machine, and the version of everything that was measured. */
export async function describeMachine() {
  return {
    machine: `${cpus().length} cores (${cpus()[0]?.model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GiB, ${type()} ${release()}`,
    node: process.versions.node,
    versions: { ...packageVersions(), ...pythonVersions() },
  };
}

function packageVersions() {
  const require = createRequire(import.meta.url);
  const names = ["lovage", "bullmq", "bee-queue", "celery-node", "plainjob", "better-sqlite3", "ioredis"];
  return Object.fromEntries(names.flatMap((name) => versionOf(require, name)));
}

function versionOf(require, name) {
  for (const folder of require.resolve.paths(name)) {
    try {
      return [[name, JSON.parse(readFileSync(`${folder}/${name}/package.json`, "utf8")).version]];
    } catch {
      // not in this node_modules
    }
  }
  return [];
}

function pythonVersions() {
  const python = systems.find((system) => system.python)?.python;
  if (!python) return {};
  const ask = [
    "import celery, kombu, redis, platform, importlib.util as u",
    "print(platform.python_version(), celery.__version__, kombu.__version__, redis.__version__, bool(u.find_spec('hiredis')))",
  ].join("\n");
  const [version, celery, kombu, redisPy, hiredis] = execFileSync(python, ["-c", ask], { encoding: "utf8" }).trim().split(" ");
  return { python: version, celery, kombu, "redis-py": redisPy, hiredis: hiredis === "True" ? "yes" : "no" };
}
