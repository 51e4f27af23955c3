/** What happens to a cell of the crash matrix while it works. Each opens the servers that it needs. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { Redis } from "ioredis";
import { RedisServer } from "../../support/redis-server.ts";
import { SentinelGroup } from "../../support/sentinels.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";
import { LEASE_MS, Stage, type StageOptions } from "./stage.ts";

type Base = Pick<StageOptions, "task">;

export interface Struck {
  readonly stage: Stage;
  /** When it began, and when it was over; ms since 1970. */
  readonly struckAt: number;
  readonly overAt: number;
  /** Which bodies it cut short; undefined where it was the broker that was struck. */
  readonly victim?: Parameters<Stage["account"]>[2];
}

export interface Fault {
  readonly name: string;
  /** The stores may lose what they had accepted: then there is nothing to promise. */
  readonly losesStore?: boolean;
  /** Why it cannot be played here. */
  readonly isImpossible?: () => string | undefined;
  play(base: Base, then: (struck: Struck) => Promise<void>): Promise<void>;
}

/** Until it is in full work. */
async function inWork(stage: Stage, count = 60): Promise<void> {
  stage.startPublishing();
  await stage.noted((notes) => notes.filter(({ what }) => what === "ended").length >= count);
}

async function onRedis(
  base: Base,
  options: { readonly server?: Parameters<typeof RedisServer.start>[0]; readonly pool?: StageOptions["pool"]; readonly fails?: boolean },
  play: (stage: Stage, server: RedisServer) => Promise<void>,
): Promise<void> {
  await using server = await RedisServer.start(options.server);
  await using stage = new Stage({ ...base, url: server.url, pool: options.pool ?? "async", fails: options.fails ?? false });
  await play(stage, server);
}

const taskThrows: Fault = {
  name: "task throws",
  play: (base, then) =>
    onRedis(base, { fails: true }, async (stage) => {
      await stage.startWorker();
      await stage.startWorker();
      const struckAt = Date.now();
      await inWork(stage);
      await then({ stage, struckAt, overAt: Date.now(), victim: () => false });
    }),
};

const childKilled: Fault = {
  name: "pool child killed",
  play: (base, then) =>
    onRedis(base, { pool: "processes" }, async (stage) => {
      const first = await stage.startWorker();
      await stage.startWorker();
      await inWork(stage);
      // A child that is at work: its task has begun and not ended.
      let child = 0;
      await stage.noted((notes) => {
        const ended = new Set(notes.flatMap(({ what, index }) => (what === "ended" ? [index] : [])));
        const running = notes.findLast(({ what, index, worker }) => what === "began" && worker === "w0" && !ended.has(index));
        if (running === undefined) return false;
        process.kill(running.pid, "SIGKILL");
        child = running.pid;
        return true;
      });
      const struckAt = Date.now();
      if (child === first.pid) throw new Error("the tasks of this pool run in the worker itself");
      await then({ stage, struckAt, overAt: struckAt, victim: ({ pid }) => pid === child });
    }),
};

const workerKilled: Fault = {
  name: "worker killed",
  play: (base, then) =>
    onRedis(base, {}, async (stage) => {
      const first = await stage.startWorker();
      await stage.startWorker();
      await inWork(stage, 150); // for longer than a lease, as a fleet
      first.kill("SIGKILL");
      const struckAt = Date.now();
      await then({ stage, struckAt, overAt: struckAt, victim: ({ worker }) => worker === "w0" });
    }),
};

const workerStopped: Fault = {
  name: "worker stopped for 2.5 leases (SIGSTOP)",
  play: (base, then) =>
    onRedis(base, {}, async (stage) => {
      const first = await stage.startWorker();
      await stage.startWorker();
      await inWork(stage, 150);
      first.kill("SIGSTOP");
      const struckAt = Date.now();
      await wait(2.5 * LEASE_MS); // the length of the fault
      first.kill("SIGCONT");
      await then({ stage, struckAt, overAt: Date.now(), victim: ({ worker }) => worker === "w0" });
    }),
};

const DOWN_MS = 1500;

const redisKilled = (name: string, args: readonly string[], losesStore: boolean): Fault => ({
  name: `Redis killed for ${DOWN_MS / 1000} s, ${name}`,
  losesStore,
  play: (base, then) =>
    onRedis(base, { server: { args } }, async (stage, server) => {
      await stage.startWorker();
      await stage.startWorker();
      await inWork(stage);
      const struckAt = Date.now();
      await server.kill();
      await wait(DOWN_MS); // the length of the fault
      await server.restart();
      await then({ stage, struckAt, overAt: Date.now() });
    }),
});

const failover: Fault = {
  name: "Sentinel failover, master killed",
  losesStore: true,
  async play(base, then) {
    await using group = await SentinelGroup.start();
    const settings = { brokerTransportOptions: group.transportOptions, resultBackendTransportOptions: group.transportOptions };
    await using stage = new Stage({ ...base, url: group.url, settings, pool: "async", fails: false });
    await stage.startWorker();
    await stage.startWorker();
    await inWork(stage);
    const before = await group.masterPort();
    const struckAt = Date.now();
    await group.server(before).kill();
    await group.promoted(before);
    await then({ stage, struckAt, overAt: Date.now() });
  },
};

const partition: Fault = {
  name: "one worker cut off for 2.5 leases, without a word",
  play: (base, then) =>
    onRedis(base, {}, async (stage, server) => {
      await using link = await TcpProxy.start(server.port);
      await stage.startWorker(link.url);
      await stage.startWorker();
      await inWork(stage, 150);
      link.isSilent = true;
      const struckAt = Date.now();
      await wait(2.5 * LEASE_MS); // the length of the fault
      link.isSilent = false;
      link.cut(); // what passed meanwhile is gone: a real network would break these connections too
      await then({ stage, struckAt, overAt: Date.now(), victim: ({ worker }) => worker === "w0" });
    }),
};

/** A file system of a few megabytes, which only root may mount. */
const diskFull: Fault = {
  name: "disk full for 1.5 s (AOF everysec)",
  isImpossible: () =>
    process.platform === "linux" && process.getuid?.() === 0 ? undefined : "a small file system can be mounted by root on Linux only",
  async play(base, then) {
    const place = mkdtempSync(join(tmpdir(), "lovage-small-"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m", "tmpfs", place]);
    try {
      // auto-aof-rewrite would need room for a second file.
      const args = ["--dir", place, "--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"];
      await onRedis(base, { server: { args } }, async (stage) => {
        await stage.startWorker();
        await stage.startWorker();
        await inWork(stage);
        const struckAt = Date.now();
        const ballast = join(place, "ballast");
        fill(ballast);
        await wait(DOWN_MS); // the length of the fault
        unlinkSync(ballast);
        await then({ stage, struckAt, overAt: Date.now() });
      });
    } finally {
      execFileSync("umount", [place]);
      rmSync(place, { recursive: true, force: true });
    }
  },
};

function fill(file: string): void {
  writeFileSync(file, "");
  for (let bytes = 1024 * 1024; bytes >= 4096;) {
    try {
      writeFileSync(file, Buffer.alloc(bytes), { flag: "a" });
    } catch {
      bytes /= 2; // no room for so much at once
    }
  }
}

const outOfMemory: Fault = {
  name: "Redis out of memory for 1.5 s (noeviction)",
  play: (base, then) =>
    onRedis(base, { server: { args: ["--maxmemory-policy", "noeviction"] } }, async (stage, server) => {
      await stage.startWorker();
      await stage.startWorker();
      await inWork(stage);
      const hand = new Redis(server.port, "127.0.0.1");
      try {
        const struckAt = Date.now();
        await hand.config("SET", "maxmemory", "100kb");
        await wait(DOWN_MS); // the length of the fault
        await hand.config("SET", "maxmemory", "0");
        await then({ stage, struckAt, overAt: Date.now() });
      } finally {
        hand.disconnect();
      }
    }),
};

export const FAULTS: readonly Fault[] = [
  taskThrows,
  childKilled,
  workerKilled,
  workerStopped,
  redisKilled("AOF always", ["--appendonly", "yes", "--appendfsync", "always"], false),
  redisKilled("AOF everysec", ["--appendonly", "yes", "--appendfsync", "everysec"], true),
  redisKilled("no persistence", [], true),
  failover,
  partition,
  diskFull,
  outOfMemory,
];
