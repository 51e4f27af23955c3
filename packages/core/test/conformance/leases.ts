/** What every broker does with the loans of workers that die, stop or come back. Part of `broker.ts`. */
import { beforeEach, describe, expect, test } from "vitest";
import type { Broker, Delivery } from "../../src/brokers/broker.ts";
import { idOf, settleAll, take, toQueue } from "../support/broker-hands.ts";
import { type BrokerStand, DELICATE, LEASE_MS, publish, ready, type Scene, sweepAway } from "./scene.ts";

export function leasesConformance(scene: () => Scene): void {
  let broker: Broker;
  let stand: BrokerStand;
  beforeEach(() => void ({ broker, stand } = scene()));

  describe("leases", () => {
    test("a worker whose lease runs out loses its loans: returned in order, marked, counted as lost", async () => {
      if (!broker.leases) throw new Error("this broker has no leases");
      await broker.publish(["a", "b"].map((id) => toQueue("q", { id, headers: { ...DELICATE } })));
      await broker.leases.renew("one", LEASE_MS);
      const taken = await take(broker, ["q"], 2, { worker: "one" });
      await broker.leases.renew("one", LEASE_MS);
      const other = await stand.open();
      expect(await sweepAway("one", other)).toEqual({ returned: 2, deadLettered: 0 });
      const again = await take(other, ["q"], 2, { worker: "two" });
      expect(again.map(idOf)).toEqual(["a", "b"]);
      expect(again.map(({ losses }) => losses)).toEqual([1, 1]);
      expect(again[0]?.open().info.redelivered).toBe(true);
      expect(again[0]?.open().message.headers).toMatchObject({ ...DELICATE });
      const late = await broker.settle(
        taken.map((delivery) => ({ delivery, end: { kind: "ack" }, publish: [toQueue("next", { id: "c" })] })),
      );
      expect(late).toEqual(["lost", "lost"]);
      expect(await ready(broker, "next")).toBe(0);
      expect((await broker.leases.renew("one", LEASE_MS)).held).toBe(false);
      expect((await broker.leases.renew("one", LEASE_MS)).held).toBe(true);
      expect(await settleAll(other, again)).toEqual(["settled", "settled"]);
    });

    test("a worker whose lease is renewed keeps its loans", async () => {
      if (!broker.leases) throw new Error("this broker has no leases");
      await publish(broker, "q", "a");
      await broker.leases.renew("one", 60_000);
      const taken = await take(broker, ["q"], 1, { worker: "one" });
      await broker.leases.renew("one", 60_000);
      const other = await stand.open();
      await other.leases?.renew("dead", 1);
      await sweepAway("dead", other);
      expect(await settleAll(broker, taken)).toEqual(["settled"]);
      expect(await ready(broker, "q")).toBe(0);
    });

    test("release gives the loans back at once, not as losses, and ends the lease", async () => {
      if (!broker.leases) throw new Error("this broker has no leases");
      await publish(broker, "q", "a", "b");
      await broker.leases.renew("one", 60_000);
      await take(broker, ["q"], 2, { worker: "one" });
      expect(await broker.leases.list()).toMatchObject([{ worker: "one", loans: 2 }]);
      const other = await stand.open();
      expect(await other.leases?.release("one")).toBe(2);
      expect(await broker.leases.list()).toEqual([]);
      const again = await take(other, ["q"], 2, { worker: "two" });
      expect(again.map(idOf)).toEqual(["a", "b"]);
      expect(again.map(({ losses }) => losses)).toEqual([0, 0]);
    });

    test("a worker that comes back under its name does not inherit what it died with", async () => {
      if (!broker.leases) throw new Error("this broker has no leases");
      await publish(broker, "q", "a");
      await broker.leases.renew("one", 60_000);
      await take(broker, ["q"], 1, { worker: "one" });
      const reborn = await stand.open();
      const [again] = (await take(reborn, ["q"], 1, { worker: "one", withinMs: 15_000 })) as [Delivery];
      expect(again.losses).toBe(1);
      expect(again.open().info.redelivered).toBe(true);
    });

    test("the clock offset is the broker's clock minus ours", async () => {
      if (!broker.leases) throw new Error("this broker has no leases");
      const { clockOffsetMs } = await broker.leases.renew("one", 60_000);
      expect(Math.abs(clockOffsetMs)).toBeLessThan(1000);
    });
  });
}
