/**
 * A worker that lost its lease hears of it whatever becomes of the answer that says so first, and hears of each loss once: an answer that
 * is lost would else let it run what another worker was given, and a loss that is told twice would cost it what it was lent since.
 */
import { Redis } from "ioredis";
import { expect, test } from "vitest";

import type { Broker } from "../../src/brokers/broker.ts";
import { settleAll, take, toQueue } from "../support/broker-hands.ts";
import { eventually } from "../support/eventually.ts";
import { openBroker } from "../support/redis-brokers.ts";
import { RedisServer } from "../support/redis-server.ts";
import { type Passage, TcpProxy } from "../support/tcp-proxy.ts";

const LEASE_MS = 300;
const SWEEPING = { maxDeliveries: 100, leaseMs: LEASE_MS, visibilityTimeoutMs: 3_600_000 };

async function sweepOff(sweeper: Broker, worker: string): Promise<void> {
  await eventually(`${worker} is swept`, async () => {
    await sweeper.leases?.renew("sweeper", LEASE_MS);
    return (await sweeper.leases?.sweep(SWEEPING))?.workers.includes(worker) === true;
  });
}

for (const passage of ["cut", "cutHalfway"] satisfies Passage[]) {
  test(`the answer that tells of a lost lease is lost (${passage}): the next tells it again, and the one after that does not`, async () => {
    await using server = await RedisServer.start();
    await using link = await TcpProxy.start(server.port);
    await using main = await openBroker(server.url, { leaseMs: LEASE_MS });
    await using guard = await openBroker(link.url, { leaseMs: LEASE_MS });
    await using sweeper = await openBroker(server.url, { leaseMs: LEASE_MS });
    const renew = async (): Promise<boolean | undefined> => (await guard.leases?.renew("one", LEASE_MS))?.held;
    expect(await renew()).toBe(true);
    await main.publish([toQueue("q", { id: "a" }), toQueue("q", { id: "b" })]);
    const taken = await take(main, ["q"], 2);
    expect(await renew()).toBe(true);
    await sweepOff(sweeper, "one");
    for (let lost = 0; lost < 3; lost++) {
      link.judge = (direction) => {
        if (direction === "request") return "pass";
        link.judge = () => "pass";
        return passage;
      };
      await expect(renew()).rejects.toThrow("broker");
      await guard.depth(["q"]); // over a new connection
    }
    expect(await renew()).toBe(false);
    expect(await settleAll(main, taken.slice(0, 1))).toEqual(["lost"]); // and learns of it by itself
    const again = await take(main, ["q"], 2);
    for (let i = 0; i < 3; i++) expect(await renew()).toBe(true); // it is lent anew, under a lease that is in force
    expect(await settleAll(main, again)).toEqual(["settled", "settled"]);
  });
}

test("a second loss is told as well, and a guard that begins anew hears of the loss that the one before it did not hear of", async () => {
  await using server = await RedisServer.start();
  await using main = await openBroker(server.url, { leaseMs: LEASE_MS });
  await using sweeper = await openBroker(server.url, { leaseMs: LEASE_MS });
  await main.publish([toQueue("q", { id: "a" })]);
  {
    await using guard = await openBroker(server.url, { leaseMs: LEASE_MS });
    for (let loss = 0; loss < 2; loss++) {
      await guard.leases?.renew("one", LEASE_MS);
      await take(main, ["q"], 1);
      await sweepOff(sweeper, "one");
      expect((await guard.leases?.renew("one", LEASE_MS))?.held).toBe(false);
      expect((await guard.leases?.renew("one", LEASE_MS))?.held).toBe(true);
    }
    await take(main, ["q"], 1);
    await sweepOff(sweeper, "one");
  }
  await using guard = await openBroker(server.url, { leaseMs: LEASE_MS });
  expect((await guard.leases?.renew("one", LEASE_MS))?.held).toBe(false);
  expect((await guard.leases?.renew("one", LEASE_MS))?.held).toBe(true);
  await using third = await openBroker(server.url, { leaseMs: LEASE_MS });
  expect((await third.leases?.renew("one", LEASE_MS))?.held).toBe(true); // it was heard of
});

test("a server that refuses to write for a while (a full disk) costs nobody the lease: the living are given time to say so", async () => {
  await using server = await RedisServer.start();
  await using holder = await openBroker(server.url, { leaseMs: LEASE_MS });
  await using sweeper = await openBroker(server.url, { leaseMs: LEASE_MS });
  const hand = new Redis(server.port, "127.0.0.1");
  try {
    await holder.leases?.renew("one", LEASE_MS);
    await holder.publish([toQueue("q", { id: "a" })]);
    const taken = await take(holder, ["q"], 1);
    await holder.leases?.renew("one", LEASE_MS);
    const guard = async (): Promise<void> => {
      await sweeper.leases?.renew("sweeper", LEASE_MS).catch(() => undefined);
      await sweeper.leases?.sweep(SWEEPING).catch(() => undefined);
    };
    await hand.config("SET", "min-replicas-to-write", "1"); // answered like a full disk: reads go on, writes are refused
    for (const until = performance.now() + 4 * LEASE_MS; performance.now() < until;) await guard();
    await hand.config("SET", "min-replicas-to-write", "0");
    for (let i = 0; i < 3; i++) await guard(); // before the holder comes to it
    expect((await holder.leases?.renew("one", LEASE_MS))?.held).toBe(true);
    for (let i = 0; i < 3; i++) await guard();
    expect(await settleAll(holder, taken)).toEqual(["settled"]);
  } finally {
    hand.disconnect();
  }
});
