/** How a batch grows: bits in Redis, nothing in its worker, and counts that are read in one look. `LOVAGE_SOAK=1` has a million members. */
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { Lovage } from "lovage";
import { Worker } from "lovage/worker";
import { RedisServer } from "../support/redis-server.ts";

const MEMBERS = process.env.LOVAGE_SOAK === "1" ? 1_000_000 : 10_000;
const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

test(`a batch of ${MEMBERS} takes a quarter of a byte for each member`, { timeout: 1_200_000 }, async ({ annotate }) => {
  await using redis = await RedisServer.start();
  const app = new Lovage("size", { brokerUrl: redis.url, resultBackend: redis.url, logger: silent });
  const noop = app.task({ name: "size.noop", ignoreResult: true, run: () => undefined });
  const worker = new Worker(app, { concurrency: 256, name: "worker@size" });
  const hand = new Redis(redis.url);
  try {
    function* members() {
      for (let i = 0; i < MEMBERS; i++) yield noop.s();
    }
    const from = performance.now();
    const batch = await app.batch({}, (one) => one.add(members()));
    const addedMs = performance.now() - from;
    await worker.start();
    const summary = await batch.whenComplete().get({ timeout: "20m" });
    const ranMs = performance.now() - from - addedMs;
    expect(summary).toMatchObject({ total: MEMBERS, succeeded: MEMBERS });
    const bytes = Number(await hand.memory("USAGE", `lovage:batch-states:${batch.id}`));
    expect(bytes).toBeLessThan(MEMBERS / 2 + 1000); // Redis gives a text that grows more room than it needs
    expect(await hand.exists(`lovage:batch-adds:${batch.id}`)).toBe(0);
    const seconds = (ms: number): string => (ms / 1000).toFixed(1);
    await annotate(`${MEMBERS} members added in ${seconds(addedMs)} s and run in ${seconds(ranMs)} s; ${bytes} bytes of states`);
  } finally {
    hand.disconnect();
    await worker.stop();
    await app.close();
  }
});
