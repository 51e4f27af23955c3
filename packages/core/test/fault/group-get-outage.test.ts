/**
 * `.get()` on a large group while Redis is killed three times: every promise settles, with the member's own value, because the file that
 * Redis appends to has lost nothing. `LOVAGE_SOAK=1` waits for ten thousand.
 */
import { setTimeout as wait } from "node:timers/promises";
import { expect, test } from "vitest";
import { group, Lovage } from "lovage";
import { Worker } from "lovage/worker";
import { RedisServer } from "../support/redis-server.ts";
import { Turnstile } from "../support/turnstile.ts";

const isSoak = process.env.LOVAGE_SOAK === "1";
const MEMBERS = isSoak ? 10_000 : 500;
const KILLS = 3;
/** How long Redis is down each time. */
const AWAY_MS = 300;
/** Members that end while nobody answers. */
const UNHEARD = 25;
const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

test(`every result of ${MEMBERS} arrives although Redis is killed ${KILLS} times`, { timeout: 300_000 }, async ({ annotate }) => {
  await using redis = await RedisServer.start({ appendonly: true });
  const app = new Lovage("outage", { brokerUrl: redis.url, resultBackend: redis.url, logger: silent, publishTimeout: 60 });
  /** Bodies end when they may, so that Redis is killed while results are on their way. */
  const turnstile = new Turnstile();
  const task = app.task("outage.member", async (i: number) => {
    await turnstile.pass();
    return i;
  });
  const worker = new Worker(app, { concurrency: 50, name: "worker@outage" });
  try {
    const result = await group(Array.from({ length: MEMBERS }, (_, i) => task.s(i))).delay();
    let settled = 0;
    const waiting = Promise.allSettled(
      result.results.map(async (each) => {
        try {
          return await each.get({ timeout: "240s" });
        } finally {
          settled += 1;
        }
      }),
    );
    await worker.start();
    for (let kill = 1; kill <= KILLS; kill++) {
      const some = Math.floor((MEMBERS * kill) / (KILLS + 1));
      await turnstile.allow(some);
      await redis.kill();
      void turnstile.allow(some + UNHEARD);
      await wait(AWAY_MS);
      await redis.restart();
    }
    void turnstile.allow(Infinity);
    const outcomes = await waiting;
    const ofMembers = outcomes.map((outcome) => (outcome.status === "fulfilled" ? outcome.value : String(outcome.reason)));
    expect(settled).toBe(MEMBERS);
    expect(ofMembers).toEqual(Array.from({ length: MEMBERS }, (_, i) => i));
    expect(await result.get({ timeout: "60s" })).toHaveLength(MEMBERS);
    await annotate(`${MEMBERS} results, ${turnstile.passed} runs, ${KILLS} kills`);
  } finally {
    await worker.stop();
    await app.close();
  }
});
