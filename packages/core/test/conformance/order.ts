/** In which order every broker takes from several queues, when it is told. Part of `broker.ts`. */
import { describe, expect, test } from "vitest";

import type { Broker, Delivery } from "../../src/brokers/broker.ts";
import { countByQueue, type QueueOrder } from "../../src/brokers/queue-order.ts";
import { eventually } from "../support/eventually.ts";
import { idOf, settleAll, Slots, take, toQueue } from "../support/broker-hands.ts";
import type { BrokerStand } from "./scene.ts";

const STRICT: QueueOrder = { kind: "strict" };
const WEIGHTED: QueueOrder = { kind: "weighted", weights: new Map([["a", 6], ["b", 3], ["c", 1]]) }; // prettier-ignore

export function orderConformance(stand: () => BrokerStand): void {
  const fill = async (broker: Broker, queue: string, count: number, priority = 0): Promise<void> =>
    await broker.publish(Array.from({ length: count }, (_, at) => toQueue(queue, { id: `${queue}${at}`, priority })));

  /** As a worker with so many slots that settles each batch. */
  const consume = async (
    broker: Broker,
    queues: readonly string[],
    order: QueueOrder,
    count: number,
    slots: number,
    fair?: ReadonlySet<string>,
  ): Promise<Delivery[]> => {
    const taken: Delivery[] = [];
    const credit = new Slots(slots);
    const stop = new AbortController();
    for await (const batch of broker.consume(queues, { worker: "one", credit, signal: stop.signal, order, ...(fair && { fair }) })) {
      credit.take(batch.length);
      taken.push(...batch);
      await settleAll(broker, batch);
      if (taken.length >= count) stop.abort();
      credit.give(batch.length);
    }
    return taken.slice(0, count);
  };

  describe("order of queues", () => {
    test("strict: all of a queue, whatever the priority of its messages, before any of the next", async () => {
      const broker = await stand().open();
      await fill(broker, "low", 20);
      await fill(broker, "high", 10, 9);
      await fill(broker, "high", 10, 3);
      const taken = await consume(broker, ["high", "low"], STRICT, 40, 7);
      expect(taken.map(({ queue }) => queue)).toEqual([...Array<string>(20).fill("high"), ...Array<string>(20).fill("low")]);
      expect(taken.slice(0, 10).map((delivery) => delivery.open().message.properties.priority)).toEqual(Array<number>(10).fill(3));
    });

    test.each([1, 4, 10, 50])("weighted, with %i slots: each has its share, and the least is not starved", async (slots) => {
      const broker = await stand().open();
      for (const queue of ["a", "b", "c"]) await fill(broker, queue, 400);
      const counts = countByQueue(await consume(broker, ["a", "b", "c"], WEIGHTED, 400, slots));
      // Within one batch of what the weights say.
      expect(Math.abs((counts.get("a") ?? 0) - 240)).toBeLessThanOrEqual(slots + 8);
      expect(Math.abs((counts.get("b") ?? 0) - 120)).toBeLessThanOrEqual(slots + 8);
      expect(counts.get("c") ?? 0).toBeGreaterThanOrEqual(20); // 5 % of all
      expect(counts.get("c") ?? 0).toBeLessThanOrEqual(40 + slots + 8);
    });

    test("weighted: a queue that has nothing leaves its share to the others", async () => {
      const broker = await stand().open();
      await fill(broker, "b", 90);
      await fill(broker, "c", 30);
      const counts = countByQueue(await consume(broker, ["a", "b", "c"], WEIGHTED, 120, 8));
      expect(counts).toEqual(new Map([["b", 90], ["c", 30]])); // prettier-ignore
    });

    test.each([["a"], ["b"], ["b", "c"]])("weighted, with %s taken by turns among keys: the shares are the same", async (...names) => {
      const broker = await stand().open();
      for (const queue of ["a", "b", "c"]) await fill(broker, queue, 200);
      const taken = await consume(broker, ["a", "b", "c"], WEIGHTED, 200, 10, new Set(names));
      const counts = countByQueue(taken);
      expect(Math.abs((counts.get("a") ?? 0) - 120)).toBeLessThanOrEqual(18);
      expect(Math.abs((counts.get("b") ?? 0) - 60)).toBeLessThanOrEqual(18);
      expect(counts.get("c") ?? 0).toBeGreaterThanOrEqual(10);
      expect(new Set(taken.map(idOf)).size).toBe(200);
    });

    test("strict, with a queue taken by turns among keys between others", async () => {
      const broker = await stand().open();
      for (const queue of ["low", "fair", "high"]) await fill(broker, queue, 12);
      const taken = await consume(broker, ["high", "fair", "low"], STRICT, 36, 5, new Set(["fair"]));
      expect(taken.map(({ queue }) => queue)).toEqual(["high", "fair", "low"].flatMap((queue) => Array<string>(12).fill(queue)));
    });

    test("several consumers of one worker: each takes of its own queues as many as it has slots, and one that ends leaves the others be", async () => {
      const broker = await stand().open();
      for (const queue of ["a", "b", "c"]) await fill(broker, queue, 30);
      const groups = [{ queues: ["a"], slots: 2 }, { queues: ["b", "c"], slots: 5 }].map(({ queues, slots }) => ({
        queues,
        credit: new Slots(slots),
        stop: new AbortController(),
        held: [] as Delivery[],
        taken: [] as Delivery[],
        ended: Promise.resolve(),
      })); // prettier-ignore
      const [one, other] = groups as [(typeof groups)[number], (typeof groups)[number]];
      for (const group of groups) {
        group.ended = (async () => {
          for await (const batch of broker.consume(group.queues, { worker: "one", credit: group.credit, signal: group.stop.signal })) {
            group.credit.take(batch.length);
            group.held.push(...batch);
            group.taken.push(...batch);
          }
        })();
      }
      const finish = async (group: typeof one): Promise<void> => {
        const done = group.held.splice(0);
        expect(await settleAll(broker, done)).toEqual(done.map(() => "settled"));
        group.credit.give(done.length);
      };
      await eventually("all slots are taken", () => one.held.length === 2 && other.held.length === 5);
      for (let round = 0; round < 3; round++) {
        for (const group of groups) await finish(group);
        await eventually("all slots are taken again", () => one.held.length === 2 && other.held.length === 5);
      }
      one.stop.abort();
      await one.ended;
      await finish(one);
      while (other.taken.length < 60) {
        await finish(other);
        await eventually("the next", () => other.held.length > 0);
      }
      await finish(other);
      other.stop.abort();
      await other.ended;
      expect(one.taken.map(idOf)).toEqual(Array.from({ length: 8 }, (_, at) => `a${at}`));
      expect(new Set(other.taken.map(idOf)).size).toBe(60);
      expect(await broker.depth(["a", "b", "c"])).toMatchObject([{ ready: 22 }, { ready: 0 }, { ready: 0 }]);
    });

    test("what an ordered consumer did not yield is back, in its order", async () => {
      const broker = await stand().open();
      for (const queue of ["a", "b", "c"]) await fill(broker, queue, 10);
      const held = await take(broker, ["a", "b", "c"], 5, { order: WEIGHTED });
      await settleAll(broker, held, { kind: "putBack" });
      for (const queue of ["a", "b", "c"]) {
        expect((await take(broker, [queue], 10)).map(idOf)).toEqual(Array.from({ length: 10 }, (_, at) => `${queue}${at}`));
      }
    });
  });
}
