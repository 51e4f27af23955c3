/**
 * A worker that is up is consuming, within 5 s of its broker's return, whatever happened to the broker or the link; with
 * `appendfsync always` nothing is lost and nothing healthy runs twice. `LOVAGE_SOAK=1`: longer outages, ten times each.
 */
import { setTimeout as wait } from "node:timers/promises";
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { RedisServer } from "../support/redis-server.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { SteadyLoad } from "./steady-load.ts";

const isSoak = process.env.LOVAGE_SOAK === "1";
const REPETITIONS = isSoak ? 10 : 1;
const WORKERS = 2;
const BACK_WITHIN_MS = 5000;
/** Of the load, before each outage. */
const CALLS_BEFORE = 100;
const PAUSE_MS = 4000;
const SILENCE_MS = 2000;
const BLIP = { count: 10, awayMs: 100, backMs: 200 };
/** Shorter than some of the outages. */
const LEASE_S = isSoak ? 10 : 2;

interface Scene {
  readonly server: RedisServer;
  readonly link: TcpProxy;
  readonly hand: Redis;
}

interface Outage {
  readonly name: string;
  /** Resolves when the broker can be reached again. */
  happen(scene: Scene): Promise<void>;
  readonly lastsMs: number;
}

const killed = (seconds: number): Outage => ({
  name: `Redis killed and started again after ${seconds} s`,
  lastsMs: seconds * 1000,
  happen: async ({ server }) => {
    await server.kill();
    await wait(seconds * 1000);
    await server.restart();
  },
});

const outages: readonly Outage[] = [
  ...(isSoak ? [1, 5, 20, 60] : [1, 4]).map(killed),
  {
    name: "CLIENT KILL of every connection",
    lastsMs: 0,
    happen: async ({ hand }) => {
      await hand.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
      await hand.call("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes");
    },
  },
  {
    name: "CLIENT PAUSE of 4 s",
    lastsMs: PAUSE_MS,
    happen: async ({ hand }) => {
      await hand.call("CLIENT", "PAUSE", String(PAUSE_MS));
      await wait(PAUSE_MS);
    },
  },
  {
    name: "a link that is silent for 2 s, and whose connections stay half-open",
    lastsMs: SILENCE_MS,
    happen: async ({ link }) => {
      link.isSilent = true;
      await wait(SILENCE_MS);
      link.heal();
    },
  },
  {
    name: "ten blips in 3 s",
    lastsMs: BLIP.count * (BLIP.awayMs + BLIP.backMs),
    happen: async ({ link }) => {
      for (let blip = 0; blip < BLIP.count; blip += 1) {
        link.refuses = true;
        link.cut();
        await wait(BLIP.awayMs);
        link.refuses = false;
        await wait(BLIP.backMs);
      }
    },
  },
];

for (const outage of outages) {
  const timeout = 120_000 + 2 * outage.lastsMs + REPETITIONS * (outage.lastsMs + 30_000);
  test(`${outage.name}: every worker consumes within 5 s, none lost, none repeated`, { timeout }, async ({ annotate }) => {
    await using server = await RedisServer.start({ appendonly: true });
    await using link = await TcpProxy.start(server.port);
    const settings = { leaseTime: LEASE_S, publishTimeout: 3 };
    await using load = await SteadyLoad.start({ broker: link.url, workers: WORKERS, settings });
    const processes = load.workers.alive.map(({ process }) => process.pid);
    const took: number[] = [];
    for (let repetition = 0; repetition < REPETITIONS; repetition += 1) {
      const hand = new Redis(server.url, { retryStrategy: () => 20 });
      hand.on("error", () => undefined); // it is killed with the others
      const long = Promise.all([1, 2].map(async () => await load.call(outage.lastsMs + 1500))); // healthy, and running through it all
      await load.holds(CALLS_BEFORE); // and so the long ones have begun
      await outage.happen({ server, link, hand });
      took.push(await load.everyWorkerRuns(BACK_WITHIN_MS + 10_000));
      await long;
      hand.disconnect();
    }
    const tally = await load.finish(60_000 + 2 * outage.lastsMs); // the long ones may have begun after the last outage only
    const figures = `back after ${took.map((ms) => (ms / 1000).toFixed(1)).join(", ")} s; ${tally.held} held, ${tally.refused} refused, ${tally.unknown} unknown`;
    await annotate(figures);
    expect({ ...tally, processes: load.workers.alive.map(({ process }) => process.pid) }).toMatchObject({
      lost: [],
      ghosts: [],
      repeated: [],
      processes,
    });
    expect(tally.held).toBeGreaterThan(REPETITIONS * CALLS_BEFORE);
    expect(Math.max(...took)).toBeLessThan(BACK_WITHIN_MS);
  });
}
