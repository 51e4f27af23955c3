/** The page about Python Celery, as its reader would try it. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { python } from "../../../packages/core/test/support/python.ts";
import { RedisServer } from "../../../packages/core/test/support/redis-server.ts";

const folder = fileURLToPath(new URL("..", import.meta.url));

test.skipIf(python === undefined)("a Node program calls a Python task and reads its result", async () => {
  await using redis = await RedisServer.start();
  const urls = { CELERY_BROKER_URL: redis.url, CELERY_RESULT_BACKEND: redis.url.replace(/0$/, "1") };
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, C_FORCE_ROOT: "1", PYTHONDONTWRITEBYTECODE: "1", ...urls };
  const args = [
    "-m",
    "celery",
    "-A",
    "stock",
    "worker",
    "--pool=solo",
    "--queues=python",
    "--loglevel=ERROR",
    "--without-gossip",
    "--without-mingle",
  ];
  const worker = spawn(python as string, args, { cwd: folder, env, stdio: "ignore" });
  try {
    const { stdout } = await promisify(execFile)(process.execPath, ["--import", "jiti/register", "call-python.ts"], {
      cwd: folder,
      env,
      timeout: 60_000,
    });
    expect(stdout).toBe("90 to order\n");
  } finally {
    const gone = once(worker, "exit");
    worker.kill("SIGTERM");
    await gone;
  }
});
