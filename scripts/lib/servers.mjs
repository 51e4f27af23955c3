/** Finds, and where it may installs, the real servers that the tests start for themselves. */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { output, root, run } from "./run.mjs";

const inCi = process.env.CI === "true";

/** `redis-server` must be there: without it most of the tests would say nothing. */
export async function ensureRedis() {
  if (await output("redis-server", ["--version"])) return;
  const how = "apt-get install -y redis-server";
  if (await mayInstallDebianPackages()) {
    console.log("Installing redis-server ...");
    await aptInstall(["redis-server"]);
    if (await output("redis-server", ["--version"])) return;
  }
  console.error(`The tests need redis-server 6.2 or newer, and it is not on this machine. Install it:\n\n    ${how}\n`);
  process.exit(1);
}

/** PostgreSQL, for the tests of the outbox. Debian keeps its programs off the path. */
export async function ensurePostgres() {
  if (await hasPostgres()) return;
  if (await mayInstallDebianPackages()) {
    console.log("Installing postgresql ...");
    await aptInstall(["postgresql"]);
    if (await hasPostgres()) return;
  }
  console.error("The tests need PostgreSQL 13 or newer, and it is not on this machine. Install it:\n\n    apt-get install -y postgresql\n");
  process.exit(1);
}

async function hasPostgres() {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? await readdir(debian) : [];
  if (versions.some((version) => existsSync(join(debian, version, "bin/initdb")))) return true;
  return (await output("initdb", ["--version"])) !== undefined;
}

/** The path of a Chromium for the page's tests, or undefined: then they are skipped by name, and fail in CI. */
export async function ensureChromium() {
  const found = await findChromium();
  if (found || !inCi || !(await mayInstallDebianPackages())) return found;
  console.log("Installing chromium ...");
  await aptInstall(["chromium"]);
  return findChromium();
}

async function findChromium() {
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    const path = await output("sh", ["-c", `command -v ${name}`]);
    if (path) return path;
  }
  return undefined;
}

/**
 * A Python that has Celery, for the interoperability tests: Celery 5.6 in a virtual environment of ours, else
 * Debian's python3-celery (5.2; tests of newer wire features are skipped by name), else undefined.
 */
export async function ensurePython() {
  const venv = join(root, ".cache/python");
  const python = join(venv, "bin/python");
  const ready = () => output(python, ["-c", "import celery, redis, msgpack, yaml, psycopg, cryptography; print(celery.__version__)"]);
  if (existsSync(python) && (await ready())) return python;
  if (await output("python3", ["--version"])) {
    console.log("Making a virtual environment with celery[redis] 5.6 ...");
    const made = (await run("python3", ["-m", "venv", venv])) === 0;
    const packages = ["celery[redis]>=5.6,<5.7", "msgpack", "pyyaml", "zstandard", "brotli", "psycopg[binary]", "cryptography"];
    if (
      made &&
      (await run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ...packages])) === 0 &&
      (await ready())
    )
      return python;
  }
  const debian = () => output("/usr/bin/python3", ["-c", "import celery, redis; print(celery.__version__)"]);
  if (!(await debian()) && (await mayInstallDebianPackages()))
    await aptInstall(["python3-celery", "python3-redis", "python3-msgpack", "python3-yaml", "python3-venv"]);
  return (await debian()) ? "/usr/bin/python3" : undefined;
}

async function mayInstallDebianPackages() {
  if (process.getuid?.() !== 0) return false;
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  return /^ID(_LIKE)?=.*(debian|ubuntu)/m.test(release);
}

async function aptInstall(packages) {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const stdio = ["ignore", "ignore", "inherit"];
  await run("apt-get", ["update", "-qq"], { env, stdio });
  await run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...packages], { env, stdio });
}
