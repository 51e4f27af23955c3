/** What every broker counts as the loss of a message. Part of `broker.ts`. */
import { beforeEach, describe, expect, test } from "vitest";
import type { Broker, Delivery, LoanEnd } from "../../src/brokers/broker.ts";
import { idOf, makeMessage, settleAll, take } from "../support/broker-hands.ts";
import { type BrokerStand, LEASE_MS, publish, type Scene, sweepAway } from "./scene.ts";

export function lossesConformance(scene: () => Scene): void {
  let broker: Broker;
  let stand: BrokerStand;
  beforeEach(() => void ({ broker, stand } = scene()));

  describe("losses", () => {
    test("a requeue that says it is a loss counts as one, and is marked redelivered like any other", async () => {
      await publish(broker, "q", "a", "b");
      const [first] = (await take(broker, ["q"], 1)) as [Delivery];
      expect(await settleAll(broker, [first], { kind: "requeue", to: "front", isLoss: true })).toEqual(["settled"]);
      const [again] = (await take(broker, ["q"], 1)) as [Delivery];
      expect([idOf(again), again.losses, again.open().info.redelivered]).toEqual(["a", 1, true]);
      expect(again.open().message.headers).toMatchObject(first.open().message.headers);
      await settleAll(broker, [again], { kind: "requeue", to: "front", isLoss: true });
      const [last] = (await take(broker, ["q"], 1)) as [Delivery];
      expect([idOf(last), last.losses]).toEqual(["a", 2]);
      await settleAll(broker, [last], { kind: "requeue", to: "front" });
      expect((await take(broker, ["q"], 1))[0]?.losses).toBe(2);
    });

    test("losses add up, survive a requeue and parking, and lead to the dead letters", async () => {
      if (!broker.leases) throw new Error("this broker has no leases");
      await publish(broker, "q", "a");
      for (const losses of [0, 1, 2]) {
        const worker = `w${losses}`;
        const holder = await stand.open();
        await holder.leases?.renew(worker, LEASE_MS);
        const [delivery] = (await take(holder, ["q"], 1, { worker })) as [Delivery];
        expect(delivery.losses).toBe(losses);
        await settleAll(holder, [delivery], losses === 1 ? { kind: "requeue", to: "front" } : { kind: "park", dueAt: Date.now() - 1 });
        await holder.delayed?.unpark();
        const [again] = (await take(holder, ["q"], 1, { worker })) as [Delivery];
        expect(again.losses).toBe(losses);
        await holder.checkpoints?.begin(again);
        await holder.leases?.renew(worker, 1);
        expect(await sweepAway(worker, broker)).toEqual(losses === 2 ? { returned: 0, deadLettered: 1 } : { returned: 1, deadLettered: 0 });
      }
      const page = await broker.deadLetters?.page("q", { limit: 10 });
      expect(page?.entries).toMatchObject([{ reason: "poison", losses: 3, task: "tests.add" }]);
      expect(await broker.depth(["q"])).toMatchObject([{ ready: 0, dead: 1 }]);
    });

    test("what was lost before and did not begin keeps its count, also beside one that did", async () => {
      if (!broker.leases) throw new Error("this broker has no leases");
      await publish(broker, "q", "killer", "beside");
      for (const [at, expected] of [
        [0, 0],
        [1, 1],
        [2, 1],
      ].entries()) {
        const worker = `w${at}`;
        const holder = await stand.open();
        await holder.leases?.renew(worker, LEASE_MS);
        const [killer, beside] = (await take(holder, ["q"], 2, { worker })) as [Delivery, Delivery];
        expect([idOf(killer), killer.losses, idOf(beside), beside.losses]).toEqual(["killer", expected[0], "beside", expected[1]]);
        expect(await holder.checkpoints?.begin(killer)).toBe("settled");
        await holder.leases?.renew(worker, 1);
        expect(await sweepAway(worker, broker)).toEqual(at === 2 ? { returned: 1, deadLettered: 1 } : { returned: 2, deadLettered: 0 });
      }
      const [left] = (await take(broker, ["q"], 1)) as [Delivery];
      expect([idOf(left), left.losses]).toEqual(["beside", 1]);
    });

    test("what has begun and is returned is not lost by that", async () => {
      if (!broker.leases) throw new Error("this broker has no leases");
      await publish(broker, "q", "a");
      let losses = 0;
      const again = async (end: LoanEnd): Promise<number> => {
        const [delivery] = (await take(broker, ["q"], 1)) as [Delivery];
        await broker.checkpoints?.begin(delivery);
        await settleAll(broker, [delivery], end);
        await broker.delayed?.flush();
        const [back] = (await take(broker, ["q"], 1)) as [Delivery];
        losses = back.losses;
        await settleAll(broker, [back], { kind: "putBack" });
        return losses;
      };
      const message = makeMessage({ id: "a" });
      expect(await again({ kind: "requeue", to: "front", isLoss: true })).toBe(1);
      expect(await again({ kind: "requeue", to: "front" })).toBe(1);
      expect(await again({ kind: "requeue", to: "back", message })).toBe(1);
      expect(await again({ kind: "park", dueAt: 1, message })).toBe(1);
      expect(await again({ kind: "park", dueAt: 1 })).toBe(1);
      expect(await again({ kind: "putBack" })).toBe(1);
      expect(await again({ kind: "requeue", to: "front", isLoss: true })).toBe(2);
    });

    test.each<[string, LoanEnd]>([
      ["put back", { kind: "putBack" }],
      ["requeued to the front", { kind: "requeue", to: "front" }],
      ["requeued to the back", { kind: "requeue", to: "back", message: makeMessage({ id: "a" }) }],
      ["parked", { kind: "park", dueAt: 1 }],
      ["parked with other headers", { kind: "park", dueAt: 1, message: makeMessage({ id: "a" }) }],
    ])("what has begun and is %s has not begun with the next worker", async (_, end) => {
      if (!broker.leases) throw new Error("this broker has no leases");
      await publish(broker, "q", "a");
      await settleAll(broker, await take(broker, ["q"], 1), { kind: "requeue", to: "front", isLoss: true });
      const [begun] = (await take(broker, ["q"], 1)) as [Delivery];
      await broker.checkpoints?.begin(begun);
      await settleAll(broker, [begun], end);
      await broker.delayed?.flush();
      const holder = await stand.open();
      await holder.leases?.renew("next", LEASE_MS);
      await take(holder, ["q"], 1, { worker: "next" });
      await holder.leases?.renew("next", 1);
      await sweepAway("next", broker);
      expect((await take(broker, ["q"], 1))[0]?.losses).toBe(1);
    });

    test("a large message counts each loss: reading it may be what kills", async () => {
      if (!broker.leases) throw new Error("this broker has no leases");
      await broker.publish([
        { message: makeMessage({ id: "a", headers: { shadow: "x".repeat(1024 * 1024) } }), exchange: "", routingKey: "q" },
      ]);
      for (const losses of [0, 1, 2]) {
        const holder = await stand.open();
        await holder.leases?.renew(`w${losses}`, LEASE_MS);
        const [delivery] = (await take(holder, ["q"], 1, { worker: `w${losses}` })) as [Delivery];
        expect(delivery.losses).toBe(losses);
        if (losses === 1) expect(await holder.checkpoints?.begin(delivery)).toBe("settled");
        await holder.leases?.renew(`w${losses}`, 1);
        await sweepAway(`w${losses}`, broker);
      }
      expect(await broker.depth(["q"])).toMatchObject([{ ready: 0, dead: 1 }]);
    });

    test("what is another's by now cannot begin", async () => {
      if (!broker.leases) throw new Error("this broker has no leases");
      await publish(broker, "q", "a");
      const [first] = (await take(broker, ["q"], 1)) as [Delivery];
      await settleAll(broker, [first], { kind: "requeue", to: "front", isLoss: true });
      const [second] = (await take(broker, ["q"], 1)) as [Delivery];
      await settleAll(broker, [second], { kind: "putBack" });
      expect(await broker.checkpoints?.begin(second)).toBe("lost");
      expect((await take(broker, ["q"], 1))[0]?.losses).toBe(1);
    });

    test("what has begun and is released is not lost by that, now or later", async () => {
      if (!broker.leases) throw new Error("this broker has no leases");
      await publish(broker, "q", "a");
      await settleAll(broker, await take(broker, ["q"], 1), { kind: "requeue", to: "front", isLoss: true });
      await broker.leases.renew("one", 60_000);
      const [delivery] = (await take(broker, ["q"], 1, { worker: "one" })) as [Delivery];
      await broker.checkpoints?.begin(delivery);
      const other = await stand.open();
      expect(await other.leases?.release("one")).toBe(1);
      await other.leases?.renew("two", LEASE_MS);
      await take(other, ["q"], 1, { worker: "two" });
      await other.leases?.renew("two", 1);
      await sweepAway("two", broker);
      expect((await take(broker, ["q"], 1))[0]?.losses).toBe(1);
    });
  });
}
