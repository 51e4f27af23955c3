import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";

/**
 * A redis-server of our own on a free port: nothing saved, or with `appendOnly` an append-only file synced every second.
 * Ends with the process that started it.
 */
export async function startRedis({ appendOnly = false } = {}) {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), "lovage-bench-redis-"));
  const persistence = appendOnly ? ["--appendonly", "yes", "--appendfsync", "everysec"] : ["--appendonly", "no"];
  const server = spawn("redis-server", ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", ...persistence], {
    stdio: "ignore",
  });
  const failed = new Promise((_, reject) => {
    server.once("error", (error) => reject(new Error(`cannot start redis-server: ${error.message}`)));
    server.once("exit", (code) => reject(new Error(`redis-server ended with ${code} before it answered`)));
  });
  const client = new Redis({ host: "127.0.0.1", port, retryStrategy: () => 20, maxRetriesPerRequest: null });
  client.on("error", () => {}); // refused until the server listens; a server that never does ends in `failed`
  const endWithUs = () => {
    server.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  };
  process.once("exit", endWithUs);
  await Promise.race([client.ping(), failed]);
  failed.catch(() => {});

  return {
    url: `redis://127.0.0.1:${port}/0`,
    client,
    version: (await info(client, "server")).redis_version,
    pid: server.pid,
    reset: () => client.flushall(),
    /** User and system time of the server so far, in microseconds. */
    async cpuMicros() {
      const cpu = await info(client, "cpu");
      return (Number(cpu.used_cpu_user) + Number(cpu.used_cpu_sys)) * 1e6;
    },
    async usedBytes() {
      return Number((await info(client, "memory")).used_memory);
    },
    /** How often each command was called so far, those inside scripts included. */
    async calls() {
      const stats = await info(client, "commandstats");
      return Object.fromEntries(
        Object.entries(stats).map(([name, fields]) => [name.replace(/^cmdstat_/, ""), Number(/calls=(\d+)/.exec(fields)?.[1])]),
      );
    },
    async stop() {
      process.off("exit", endWithUs);
      client.disconnect();
      const gone = new Promise((resolve) => server.once("exit", resolve));
      server.kill("SIGTERM");
      await gone;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function info(client, section) {
  const lines = (await client.info(section)).split("\r\n").filter((line) => line.includes(":"));
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]));
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
