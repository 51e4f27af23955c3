/**
 * Holders of locks of unique tasks are killed with -9. Acknowledged late: the task runs again under the same lock, and its end frees it.
 * Acknowledged early: nobody will run it again, and the lock ends with the lease of its worker. With LOVAGE_SOAK=1 more often.
 */
import { Lovage } from "lovage";
import { expect, test } from "vitest";

import { eventually } from "../support/eventually.ts";
import { RecordingWorkers } from "../support/recording-workers.ts";
import { RedisServer } from "../support/redis-server.ts";

const ROUNDS = process.env["LOVAGE_SOAK"] === "1" ? 30 : 1;
const LEASE_S = 1;
/** For a machine that is busy with other tests. */
const SLACK_MS = 5000;

const none = (): void => undefined;
const quiet = { debug: none, info: none, warn: none, error: none, child: () => quiet };
const producer = (url: string): Lovage => new Lovage("unique", { brokerUrl: url, env: false, configFile: false, logger: quiet });

test(
  "a holder that acknowledges late and is killed: its task runs again, no other meanwhile, and the lock is free at its end",
  { timeout: ROUNDS * 60_000 },
  async () => {
    await using redis = await RedisServer.start();
    await using workers = new RecordingWorkers({ broker: redis.url, settings: { leaseTime: LEASE_S, taskAcksLate: true } });
    await using app = producer(redis.url);
    const call = async (index: string, unique: object) =>
      await app.sendTask("test.recordBoth", [index, 300], undefined, { unique: { key: "one", ...unique } });
    const began = (index: string) => workers.lines().filter((line) => line === `began ${index}`).length;
    let victim = await workers.start();
    for (let round = 0; round < ROUNDS; round++) {
      const [first, next] = [`first${round}`, `next${round}`];
      const holder = await call(first, {});
      await eventually("the task to begin", () => began(first) === 1, 30_000);
      await victim.end("SIGKILL");
      expect(await call("never", {})).toMatchObject({ id: holder.id, isDuplicate: true });
      const follower = await call(next, { keepLast: true }); // waits behind one whose worker is dead
      expect(follower.isDuplicate).toBe(false);
      expect((await app.unique.list()).map(({ taskId, nextTaskId }) => [taskId, nextTaskId])).toEqual([[holder.id, follower.id]]);
      victim = await workers.start();
      await eventually("the task to begin again", () => began(first) === 2, 30_000);
      await eventually("both to have run", () => workers.lines().includes(next), 30_000);
      await eventually("the lock to be free", async () => (await app.unique.list()).length === 0, 30_000);
      const ofRound = workers.lines().slice(-5);
      expect(ofRound).toEqual([`began ${first}`, `began ${first}`, first, `began ${next}`, next]);
    }
    expect((await call("again", {})).isDuplicate).toBe(false);
    await eventually("the next call to run", () => workers.lines().includes("again"), 30_000);
    expect(workers.lines()).not.toContain("began never");
  },
);

test(
  "a holder that acknowledges early and is killed: the next call is taken within the lease of its worker",
  { timeout: ROUNDS * 120_000 },
  async ({ annotate }) => {
    await using redis = await RedisServer.start();
    await using workers = new RecordingWorkers({ broker: redis.url, settings: { leaseTime: LEASE_S, taskAcksLate: false } });
    await using app = producer(redis.url);
    const call = async (index: string, ms: number) =>
      await app.sendTask("test.recordBoth", [index, ms], undefined, { unique: { key: "one" } });
    const waits: number[] = [];
    for (let round = 0; round < 2 * ROUNDS; round++) {
      const isOtherAlive = round % 2 === 0; // it looks after the lease of the dead one
      const [lost, next] = [`lost${round}`, `next${round}`];
      const victim = workers.alive[0] ?? (await workers.start());
      const holder = await call(lost, 600_000);
      await eventually("the task to begin", () => workers.lines().includes(`began ${lost}`), 30_000);
      if (isOtherAlive) await workers.start();
      expect(await call("never", 0)).toMatchObject({ id: holder.id, isDuplicate: true });
      await victim.end("SIGKILL");
      const killedAt = performance.now();
      const taken = await eventually(
        "a call that is no duplicate",
        async () => {
          const each = await call(next, 0);
          return !each.isDuplicate && each;
        },
        30_000,
      );
      waits.push(Math.round(performance.now() - killedAt));
      expect(waits.at(-1)).toBeLessThan(LEASE_S * 1000 + SLACK_MS);
      expect(taken.id).not.toBe(holder.id);
      if (!isOtherAlive) await workers.start();
      await eventually("the next call to run", () => workers.lines().includes(next), 30_000);
      await eventually("the lock to be free", async () => (await app.unique.list()).length === 0, 30_000);
    }
    const wanted = waits.map((_, round) => [`began lost${round}`, `began next${round}`, `next${round}`]);
    expect(workers.lines()).toEqual(wanted.flat());
    await annotate(`free after ${waits.join(", ")} ms, at a lease of ${LEASE_S * 1000}`);
  },
);
