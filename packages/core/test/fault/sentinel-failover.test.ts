/**
 * Failovers under load, orderly ones and kills of the master in turn: every worker consumes within 5 s of the promotion. Replication is
 * asynchronous: what a master had answered for and not yet sent to its replica is lost with it, and counted here. With
 * `wait_replicas` nothing is. `LOVAGE_SOAK=1`: fifty of each instead of two.
 */
import { expect, test } from "vitest";
import { SentinelGroup } from "../support/sentinels.ts";
import { SteadyLoad } from "./steady-load.ts";

const FAILOVERS = process.env.LOVAGE_SOAK === "1" ? 50 : 2;
const BACK_WITHIN_MS = 5000;
/**
 * An orderly failover promotes the replica a second or so before the sentinels tell of it: what the old master takes meanwhile (80 calls
 * a second) is lost unless it was run at once. A kill costs what was under way.
 */
const LOST_AT_MOST = 3 * 80 * FAILOVERS;

for (const waitReplicas of [0, 1]) {
  const mode = waitReplicas === 0 ? "asynchronous replication" : "wait_replicas 1";
  test(
    `${FAILOVERS} failovers with ${mode}: workers follow the master`,
    { timeout: 120_000 + FAILOVERS * 60_000 },
    async ({ annotate }) => {
      await using group = await SentinelGroup.start({ sentinels: 3 });
      const settings = {
        publishTimeout: 3,
        brokerTransportOptions: { ...group.transportOptions, wait_replicas: waitReplicas },
      };
      await using load = await SteadyLoad.start({ broker: group.url, workers: 2, settings, everyMs: 100 });
      const processes = load.workers.alive.map(({ process }) => process.pid);
      const took: number[] = [];
      for (let failover = 0; failover < FAILOVERS; failover += 1) {
        await group.settled();
        const before = await group.masterPort();
        if (failover % 2 === 0) {
          await group.failover();
        } else {
          await group.server(before).kill();
          await group.promoted(before);
        }
        took.push(await load.strangerIsServed(BACK_WITHIN_MS + 15_000), await load.everyWorkerRuns(BACK_WITHIN_MS + 15_000));
        if (failover % 2 === 1) await group.revive(before);
      }
      await group.settled();
      const tally = await load.finish(30_000);
      const longest = took
        .toSorted((a, b) => b - a)
        .slice(0, 3)
        .map((ms) => (ms / 1000).toFixed(1))
        .join(", ");
      await annotate(
        `back after ${longest} s at the longest; ${tally.held} held, ${tally.refused} refused, ${tally.unknown} unknown, ` +
          `${tally.lost.length} lost, ${tally.repeated.length} repeated`,
      );
      expect(load.workers.alive.map(({ process }) => process.pid)).toEqual(processes);
      expect(tally.ghosts).toEqual([]);
      if (waitReplicas > 0) expect(tally.lost).toEqual([]);
      else expect(tally.lost.length).toBeLessThanOrEqual(LOST_AT_MOST);
      expect(tally.held).toBeGreaterThan(100);
      expect(Math.max(...took)).toBeLessThan(BACK_WITHIN_MS);
    },
  );
}
