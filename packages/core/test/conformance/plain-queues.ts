/** What every broker does with messages: they come and go, in order, within what is free. Part of `broker.ts`. */
import { beforeEach, describe, expect, test } from "vitest";
import type { Broker, Delivery } from "../../src/brokers/broker.ts";
import { encodeEnvelope } from "../../src/protocol/envelope.ts";
import { idOf, makeMessage, settleAll, Slots, take, toQueue } from "../support/broker-hands.ts";
import { eventually } from "../support/eventually.ts";
import { type BrokerStand, publish, ready, type Scene } from "./scene.ts";

export function plainQueuesConformance(scene: () => Scene): void {
  let broker: Broker;
  let stand: BrokerStand;
  beforeEach(() => void ({ broker, stand } = scene()));

  describe("publish, consume, settle", () => {
    test("what is published is delivered as it was, and gone once it is acknowledged", async () => {
      const message = makeMessage({
        id: "a",
        priority: 2,
        headers: { eta: null, retries: 0, ...{ empty: [], none: {}, nothing: null } },
      });
      await broker.publish([{ message, exchange: "", routingKey: "q" }]);
      const [delivery] = await take(broker, ["q"], 1);
      expect(delivery?.queue).toBe("q");
      expect(delivery?.losses).toBe(0);
      const opened = (delivery as Delivery).open();
      expect(opened.message.headers).toEqual(message.headers);
      expect(Buffer.from(opened.message.body).toString()).toBe(Buffer.from(message.body).toString());
      expect(opened.message.properties).toEqual(message.properties);
      expect(opened.info).toEqual({ exchange: "", routingKey: "q", redelivered: false });
      expect(await settleAll(broker, [delivery as Delivery])).toEqual(["settled"]);
      expect(await broker.depth(["q"])).toMatchObject([{ queue: "q", ready: 0, parked: 0, dead: 0 }]);
    });

    test("messages come in the order in which they were published", async () => {
      const ids = Array.from({ length: 50 }, (_, i) => `m${i}`);
      await publish(broker, "q", ...ids.slice(0, 30));
      await publish(broker, "q", ...ids.slice(30));
      expect((await take(broker, ["q"], 50, { slots: 7 })).map(idOf)).toEqual(ids);
    });

    test("priority 0 is served before 3, 6 and 9", async () => {
      await broker.publish([9, 6, 3, 0, 9, 0].map((priority, i) => toQueue("q", { id: `${priority}-${i}`, priority })));
      expect((await take(broker, ["q"], 6, { slots: 1 })).map((delivery) => idOf(delivery)[0])).toEqual(["0", "0", "3", "6", "9", "9"]);
    });

    test("never more than the free slots are yielded", async () => {
      await publish(broker, "q", ...Array.from({ length: 40 }, (_, i) => `m${i}`));
      const slots = new Slots(8);
      const stop = new AbortController();
      let taken = 0;
      for await (const batch of broker.consume(["q"], { worker: "one", credit: slots, signal: stop.signal })) {
        expect(batch.length).toBeLessThanOrEqual(slots.free());
        slots.take(batch.length);
        taken += batch.length;
        await settleAll(broker, batch);
        slots.give(batch.length);
        if (taken === 40) stop.abort();
      }
      expect(taken).toBe(40);
    });

    test("what was lent and not yielded is back when the consumer has ended", async () => {
      await publish(broker, "q", ...Array.from({ length: 20 }, (_, i) => `m${i}`));
      const held = await take(broker, ["q"], 3);
      await eventually("17 ready", async () => (await ready(broker, "q")) === 17);
      expect((await take(broker, ["q"], 17, { worker: "two" })).map(idOf)).toEqual(Array.from({ length: 17 }, (_, i) => `m${i + 3}`));
      expect(held.map(idOf)).toEqual(["m0", "m1", "m2"]);
    });

    test("what is on loan is delivered to nobody else", async () => {
      await publish(broker, "q", "a", "b");
      const [first] = await take(broker, ["q"], 1, { worker: "one" });
      const other = await stand.open();
      const [second] = await take(other, ["q"], 1, { worker: "two" });
      expect([first, second].map((each) => idOf(each as Delivery))).toEqual(["a", "b"]);
      expect(await ready(broker, "q")).toBe(0);
    });

    test("a waiting consumer gets a message that is published later, from another process", async () => {
      const other = await stand.open();
      const taking = take(broker, ["one", "two"], 2, { slots: 2 });
      await other.publish([toQueue("two", { id: "a" })]);
      await other.publish([toQueue("one", { id: "b", priority: 9 })]);
      expect((await taking).map(idOf).toSorted()).toEqual(["a", "b"]);
    });

    test("every message goes to exactly one of several waiting workers", async () => {
      const counts = new Map<string, number>();
      const stop = new AbortController();
      const ids = Array.from({ length: 60 }, (_, i) => `m${i}`);
      const workers = await Promise.all([1, 2, 3].map(async () => await stand.open()));
      const consuming = workers.map(async (each, i) => {
        const slots = new Slots(4);
        for await (const batch of each.consume(["q"], { worker: `w${i}`, credit: slots, signal: stop.signal })) {
          for (const delivery of batch) counts.set(idOf(delivery), (counts.get(idOf(delivery)) ?? 0) + 1);
          await settleAll(each, batch);
        }
      });
      for (const id of ids) await publish(broker, "q", id);
      await eventually("all taken", () => counts.size === ids.length);
      stop.abort();
      await Promise.all(consuming);
      expect([...counts.values()].every((count) => count === 1)).toBe(true);
      expect(await ready(broker, "q")).toBe(0);
    });

    test("several queues get their share of few slots", async () => {
      for (const queue of ["a", "b", "c"]) await publish(broker, queue, ...Array.from({ length: 20 }, (_, i) => `${queue}${i}`));
      const taken = await take(broker, ["a", "b", "c"], 12, { slots: 3 });
      for (const queue of ["a", "b", "c"]) expect(taken.filter((each) => each.queue === queue).length).toBeGreaterThanOrEqual(3);
    });

    test("a consumer ends when its signal aborts, waiting or not", async () => {
      for (const delayMs of [0, 50]) {
        const stop = new AbortController();
        setTimeout(() => stop.abort(), delayMs);
        const batches: unknown[] = [];
        for await (const batch of broker.consume(["empty"], { worker: "one", credit: new Slots(1), signal: stop.signal }))
          batches.push(batch);
        expect(batches).toEqual([]);
      }
    });

    test("a consumer whose slots are all taken still says that it is alive", async () => {
      await publish(broker, "q", "a");
      const slots = new Slots(1);
      const stop = new AbortController();
      let answers = 0;
      let told: Promise<unknown> | undefined;
      const events = { alive: (): void => void answers++ };
      for await (const batch of broker.consume(["q"], { worker: "one", credit: slots, signal: stop.signal, events })) {
        slots.take(batch.length);
        const before = answers;
        told = eventually("an answer while no slot is free", () => answers > before + 1, 20_000);
        told.then(
          () => stop.abort(),
          () => stop.abort(),
        );
      }
      await told;
    });

    test("the bytes of a batch are bounded, but one message always fits", async () => {
      const big = "x".repeat(20_000);
      await broker.publish(Array.from({ length: 6 }, (_, i) => toQueue("q", { id: `m${i}`, headers: { big } })));
      const sizes: number[] = [];
      const stop = new AbortController();
      let taken = 0;
      for await (const batch of broker.consume(["q"], {
        worker: "one",
        credit: new Slots(100),
        signal: stop.signal,
        maxBatchBytes: 10_000,
      })) {
        sizes.push(batch.length);
        taken += batch.length;
        await settleAll(broker, batch);
        if (taken >= 6) stop.abort();
      }
      expect(taken).toBe(6);
    });
  });

  describe("purge and depth", () => {
    test("purge discards what is ready, in all priorities, and not what is on loan", async () => {
      await broker.publish([toQueue("q", { id: "a" }), toQueue("q", { id: "b", priority: 3 }), toQueue("q", { id: "c", priority: 9 })]);
      const taken = await take(broker, ["q"], 1);
      expect(await broker.purge("q")).toBe(2);
      expect(await broker.purge("q")).toBe(0);
      expect(await settleAll(broker, taken, { kind: "requeue", to: "front" })).toEqual(["settled"]);
      expect(await ready(broker, "q")).toBe(1);
    });

    test("depth answers for each queue asked, in order, also for unknown ones", async () => {
      await publish(broker, "b", "x", "y");
      expect((await broker.depth(["a", "b"])).map(({ queue, ready: count }) => [queue, count])).toEqual([
        ["a", 0],
        ["b", 2],
      ]);
    });
  });

  test("an envelope that a foreign producer wrote is read and kept", async () => {
    if (!stand.inject) throw new Error("nothing can be put into this broker from outside");
    const envelope = encodeEnvelope(
      makeMessage({ id: "foreign" }),
      { exchange: "", routingKey: "q" },
      "11111111-1111-4111-8111-111111111111",
    );
    await stand.inject("q", envelope);
    const [delivery] = (await take(broker, ["q"], 1)) as [Delivery];
    expect(idOf(delivery)).toBe("foreign");
    expect(Buffer.from(delivery.raw).toString()).toBe(envelope);
  });
}
