/**
 * Workers of a batch are killed while its members add to it, run and end: every member is counted once, and each callback is published
 * once, whoever was about to. Nobody takes from the queue that they go to. `LOVAGE_SOAK=1` kills more often.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { Lovage } from "lovage";
import { Chance } from "../simulation/chance.ts";
import { eventually } from "../support/eventually.ts";
import { RedisServer } from "../support/redis-server.ts";

const isSoak = process.env.LOVAGE_SOAK === "1";
const SPREADERS = isSoak ? 40 : 6;
const SIZE = 10;
const KILLS = isSoak ? 40 : 2;
/** A worker lives for as long, by chance: it dies in any step of its work. */
const LIFE_MS = [20, 400] as const;
const script = fileURLToPath(new URL("batch-kill-child.mjs", import.meta.url));
const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

async function start(url: string, name: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [script, url, name], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout as NodeJS.ReadableStream, "data");
  return child;
}

async function kill(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill(signal);
  await ended;
}

test(
  "a batch whose workers are killed counts each member once and calls each callback once",
  { timeout: 300_000 },
  async ({ annotate }) => {
    const chance = new Chance(Number(process.env.LOVAGE_SEED ?? 7));
    await using redis = await RedisServer.start({ appendonly: true });
    const app = new Lovage("batches", { brokerUrl: redis.url, resultBackend: redis.url, logger: silent });
    const hand = new Redis(redis.url);
    const workers: (ChildProcess | undefined)[] = [];
    try {
      const tell = (name: string) => app.signature(name, [], {}, { queue: "told" });
      const spread = app.remote<[number], void>("batches.spread");
      const batch = await app.batch({ onSuccess: tell("success"), onComplete: tell("complete"), onDeath: tell("death") }, (one) =>
        one.add(Array.from({ length: SPREADERS }, () => spread.s(SIZE))),
      );
      for (const name of ["one", "two"]) workers.push(await start(redis.url, name));
      for (let count = 0; count < KILLS; count++) {
        await wait(chance.between(...LIFE_MS));
        const at = chance.whole(0, 1);
        await kill(workers[at], "SIGKILL");
        workers[at] = await start(redis.url, `again${count}`);
      }
      const summary = await batch.whenComplete().get({ timeout: "240s" });
      // Of each spreader itself, what it adds, and its child batch as one.
      const total = SPREADERS * (1 + SIZE + 1);
      expect(summary).toMatchObject({ total, succeeded: total, pending: 0, failed: 0, dead: 0 });
      await eventually("both callbacks are published", async () => (await hand.llen("told")) >= 2);
      for (const worker of workers) await kill(worker, "SIGTERM");
      const told = (await hand.lrange("told", 0, -1)).map((text) => (JSON.parse(text) as { headers: { task: string } }).headers.task);
      expect(told.toSorted()).toEqual(["complete", "success"]);
      expect(await hand.zcard("lovage:batches-due")).toBe(0);
      const keys = (await hand.keys("*lovage:batch*")).filter((key) => !key.startsWith("_kombu"));
      for (const key of keys) expect([key, (await hand.ttl(key)) > 0]).toEqual([key, true]);
      await annotate(`${total} members and ${SPREADERS} child batches of ${SIZE}, ${KILLS} workers killed`);
    } finally {
      for (const worker of workers) await kill(worker, "SIGKILL");
      hand.disconnect();
      await app.close();
    }
  },
);
