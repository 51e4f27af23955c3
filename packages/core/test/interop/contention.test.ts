/** A Python consumer on a queue that four Lovage workers drain at full speed is not slowed: its rejects and sweeps end at once. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Lovage } from "lovage";
import { expect, test } from "vitest";
import { python } from "../support/python.ts";
import { RecordingWorkers } from "../support/recording-workers.ts";
import { RedisServer } from "../support/redis-server.ts";

const SCRIPT = fileURLToPath(new URL("./python/contender.py", import.meta.url));
const REJECTS = 200;
const BATCH = 5000;

test.skipIf(python === undefined)("reject and sweep of kombu end within a second at p99 beside four busy workers", async () => {
  await using redis = await RedisServer.start();
  await using app = new Lovage("producer", { brokerUrl: redis.url, env: false, configFile: false });
  const record = app.remote<[index: number, ms: number], number>("test.record");
  await using workers = new RecordingWorkers({ broker: redis.url, concurrency: 256 });
  for (let i = 0; i < 4; i++) await workers.start();

  const contender = spawn(python as string, ["-u", SCRIPT, redis.url, "celery", String(REJECTS)], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: contender.stdout })[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe("ready");
  const answer = lines.next();

  let sent = 0;
  await record.map(Array.from({ length: BATCH }, () => [sent++, 0] as const));
  contender.stdin.end("go\n");
  while (contender.exitCode === null) await record.map(Array.from({ length: BATCH }, () => [sent++, 0] as const));

  const { rejects, sweeps } = JSON.parse((await answer).value as string) as { rejects: number[]; sweeps: number[] };
  const p99 = (sorted: number[]): number => sorted[Math.floor(sorted.length * 0.99)] as number;
  // oxlint-disable-next-line no-console -- a figure for whoever reads the run
  console.log(
    `beside ${sent} tasks: ${rejects.length} taken by Python; p99 of reject ${(p99(rejects) * 1000).toFixed(1)} ms, of sweep ${(p99(sweeps) * 1000).toFixed(1)} ms`,
  );
  expect(rejects.length).toBe(REJECTS);
  expect(p99(rejects)).toBeLessThan(1);
  expect(p99(sweeps)).toBeLessThan(1);
  await workers.executed(sent, 60_000); // and none was lost between the two
});
