/** Chords with many members: time and memory grow with their number and no faster. `LOVAGE_SOAK=1` makes it 100,000. */
import { Redis } from "ioredis";
import { chord, Lovage } from "lovage";
import { expect, test } from "vitest";
import { RecordingWorkers } from "../../support/recording-workers.ts";
import { RedisServer } from "../../support/redis-server.ts";

const isSoak = process.env["LOVAGE_SOAK"] === "1";
const MEMBERS = Number(process.env["LOVAGE_MEMBERS"] ?? (isSoak ? 100_000 : 2000));
/** On a machine with nothing else to do. */
const WITHIN_MS = 30_000;
const MiB = 1024 * 1024;

test(`a chord of ${MEMBERS} members`, { timeout: 240_000 }, async () => {
  await using redis = await RedisServer.start();
  const broker = redis.url;
  await using workers = new RecordingWorkers({ broker, program: "canvas-worker.mjs", concurrency: 100, execArgv: ["--expose-gc"] });
  const both = [await workers.start(), await workers.start()];
  await using app = new Lovage("canvas", { brokerUrl: broker, resultBackend: broker, env: false, configFile: false });
  const member = app.task("big.member", (i: number) => i);
  const body = app.task("big.body", (list: readonly number[]) => ({ count: list.length, sum: 0 }));
  const before = process.memoryUsage().rss;
  let peak = before;
  const watching = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 20);
  const { user, system } = process.cpuUsage();
  const since = performance.now();
  const header = Array.from({ length: MEMBERS }, (_, i) => member.s(i));
  const result = await chord(header, body.s()).delay();
  const sentMs = performance.now() - since;
  const value = await result.get({ timeout: "200s" });
  const allMs = performance.now() - since;
  const cpu = process.cpuUsage({ user, system });
  clearInterval(watching);
  expect(value).toEqual({ count: MEMBERS, sum: (MEMBERS * (MEMBERS - 1)) / 2 });
  const memories = await Promise.all(both.map((worker) => worker.memory()));
  const hand = new Redis(broker);
  const info = await hand.info("memory");
  const redisPeak = Number(/used_memory_peak:(\d+)/.exec(info)?.[1]);
  const redisCpu = Number(/used_cpu_user:([\d.]+)/.exec(await hand.info("cpu"))?.[1]);
  const keys = await hand.keys("*");
  const eternal = [];
  for (const key of keys.filter((each) => !each.startsWith("_kombu.binding."))) if ((await hand.ttl(key)) === -1) eternal.push(key);
  hand.disconnect();
  process.stdout.write(
    `${MEMBERS} members: CPU of the producer ${((cpu.user + cpu.system) / 1e6).toFixed(1)} s, of workers ${memories.map(({ cpuS }) => cpuS.toFixed(1)).join(" and ")} s, of Redis ${redisCpu.toFixed(1)} s; sent in ${sentMs.toFixed(0)} ms, all in ${allMs.toFixed(0)} ms; producer +${((peak - before) / MiB).toFixed(0)} MiB at most, ` +
      `workers ${memories.map(({ peak: most, heapUsed }) => `${(most / MiB).toFixed(0)} MiB at most, heap ${(heapUsed / MiB).toFixed(0)} MiB after`).join("; ")}; ` +
      `Redis ${(redisPeak / MiB).toFixed(0)} MiB at most\n`,
  );
  expect(workers.log).toEqual([]);
  expect(eternal.filter((key) => !/^lovage:(workers|loans:|inbox)/.test(key))).toEqual([]);
  expect(peak - before).toBeLessThan(100 * MiB + 4096 * MEMBERS);
  for (const { peak: most } of memories) expect(most).toBeLessThan(200 * MiB + 2048 * MEMBERS);
  expect(redisPeak).toBeLessThan(20 * MiB + 2048 * MEMBERS);
  if (isSoak) expect(allMs).toBeLessThan(WITHIN_MS);
});
