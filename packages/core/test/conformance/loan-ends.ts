/** What every broker does with a loan that ends, and with messages that wait for their time. Part of `broker.ts`. */
import { beforeEach, describe, expect, test } from "vitest";
import type { Broker, Delivery, LoanEnd } from "../../src/brokers/broker.ts";
import { idOf, makeMessage, settleAll, take, toQueue } from "../support/broker-hands.ts";
import { eventually } from "../support/eventually.ts";
import { type BrokerStand, DELICATE, publish, ready, type Scene } from "./scene.ts";

export function loanEndsConformance(scene: () => Scene): void {
  let broker: Broker;
  let stand: BrokerStand;
  beforeEach(() => void ({ broker, stand } = scene()));

  describe("the end of a loan", () => {
    test("a loan ends once: the second settlement is lost and does nothing", async () => {
      await publish(broker, "q", "a");
      const [delivery] = (await take(broker, ["q"], 1)) as [Delivery];
      expect(await settleAll(broker, [delivery])).toEqual(["settled"]);
      expect(await broker.settle([{ delivery, end: { kind: "requeue", to: "front" }, publish: [toQueue("next", { id: "b" })] }])).toEqual([
        "lost",
      ]);
      expect(await ready(broker, "q")).toBe(0);
      expect(await ready(broker, "next")).toBe(0);
    });

    test("of one loan named twice in a call, one settlement counts", async () => {
      await publish(broker, "q", "a");
      const [delivery] = (await take(broker, ["q"], 1)) as [Delivery];
      const answers = await broker.settle([
        { delivery, end: { kind: "ack" } },
        { delivery, end: { kind: "requeue", to: "front" } },
      ]);
      expect(answers.toSorted()).toEqual(["lost", "settled"]);
      expect(await ready(broker, "q")).toBe(0);
    });

    for (const to of ["front", "back"] as const) {
      test(`requeue to the ${to}: marked redelivered, not a loss, otherwise as it was`, async () => {
        await broker.publish([toQueue("q", { id: "a", headers: { ...DELICATE } }), toQueue("q", { id: "b" })]);
        const [first] = (await take(broker, ["q"], 1)) as [Delivery];
        await settleAll(broker, [first], { kind: "requeue", to });
        const again = await take(broker, ["q"], 2, { slots: 1 });
        expect(again.map(idOf)).toEqual(to === "front" ? ["a", "b"] : ["b", "a"]);
        const delivery = again[to === "front" ? 0 : 1] as Delivery;
        const opened = delivery.open();
        expect(opened.info.redelivered).toBe(true);
        expect(delivery.losses).toBe(0);
        const { redelivered, ...headers } = opened.message.headers;
        expect(redelivered).toBe(true);
        expect(headers).toEqual(first.open().message.headers);
      });
    }

    test("put back: first to be taken, byte for byte as it was", async () => {
      await broker.publish(["a", "b", "c"].map((id) => toQueue("q", { id, headers: { ...DELICATE } })));
      const taken = await take(broker, ["q"], 2);
      const raws = taken.map(({ raw }) => Buffer.from(raw).toString());
      expect(await settleAll(broker, taken, { kind: "putBack" })).toEqual(["settled", "settled"]);
      const again = await take(broker, ["q"], 3);
      expect(again.map(idOf)).toEqual(["a", "b", "c"]);
      expect(again.slice(0, 2).map(({ raw }) => Buffer.from(raw).toString())).toEqual(raws);
    });

    test("messages that go back together keep their order", async () => {
      const ids = Array.from({ length: 12 }, (_, i) => `m${i}`);
      await publish(broker, "q", ...ids);
      const taken = await take(broker, ["q"], 12);
      await settleAll(broker, taken, { kind: "requeue", to: "front" });
      expect((await take(broker, ["q"], 12)).map(idOf)).toEqual(ids);
    });

    test("a message of a priority goes back to its priority", async () => {
      await broker.publish([toQueue("q", { id: "late", priority: 9 }), toQueue("q", { id: "soon", priority: 0 })]);
      const taken = await take(broker, ["q"], 2);
      await settleAll(broker, taken.toReversed(), { kind: "requeue", to: "front" });
      expect((await take(broker, ["q"], 2, { slots: 1 })).map(idOf)).toEqual(["soon", "late"]);
    });

    test("what follows from a task is published in the step that ends its loan", async () => {
      await publish(broker, "q", "a", "b");
      const taken = await take(broker, ["q"], 2);
      const answers = await broker.settle([
        {
          delivery: taken[0] as Delivery,
          end: { kind: "ack" },
          publish: [toQueue("next", { id: "c" }), toQueue("other", { id: "d", priority: 6 })],
        },
        { delivery: taken[1] as Delivery, end: { kind: "ack" } },
      ]);
      expect(answers).toEqual(["settled", "settled"]);
      expect((await take(broker, ["next", "other"], 2)).map(idOf).toSorted()).toEqual(["c", "d"]);
      expect(await ready(broker, "q")).toBe(0);
    });

    test("results are stored in the step that ends the loan, and SUCCESS stays", async () => {
      if (!stand.openBackend) return;
      const backend = await stand.openBackend();
      expect(broker.settlesWith(backend)).toBe(true);
      await publish(broker, "q", "a", "b");
      const [one, two] = (await take(broker, ["q"], 2)) as [Delivery, Delivery];
      const write = (taskId: string, state: string) => ({
        taskId,
        state,
        document: `{"status": "${state}", "result": 1, "task_id": "${taskId}"}`,
        expiresMs: 60_000,
      });
      await broker.settle([{ delivery: one, end: { kind: "ack" }, results: [write("a", "SUCCESS"), write("b", "RETRY")] }], { backend });
      await broker.settle([{ delivery: two, end: { kind: "ack" }, results: [write("a", "FAILURE"), write("b", "FAILURE")] }], {
        backend,
      });
      const documents = (await backend.fetch(["a", "b"])).map((document) => (JSON.parse(String(document)) as { status: string }).status);
      expect(documents).toEqual(["SUCCESS", "FAILURE"]);
    });
  });

  describe("parking", () => {
    const inAnHour = (): number => Date.now() + 3_600_000;

    test("what is parked is not delivered before it is due, and counted as parked", async () => {
      await publish(broker, "q", "a");
      const taken = await take(broker, ["q"], 1);
      const dueAt = inAnHour();
      expect(await settleAll(broker, taken, { kind: "park", dueAt })).toEqual(["settled"]);
      expect(await broker.depth(["q"])).toMatchObject([{ ready: 0, parked: 1 }]);
      const told = await broker.delayed?.unpark();
      expect(told?.moved).toBe(0);
      expect(told?.nextDueAt).toBeLessThanOrEqual(dueAt);
      expect(told?.nextDueAt).toBeGreaterThan(dueAt - 1000);
    });

    test("what is due returns to the front, in due order, with what it carried", async () => {
      await broker.publish([...["a", "b", "c"].map((id) => toQueue("q", { id, headers: { ...DELICATE } })), toQueue("q", { id: "z" })]);
      const taken = (await take(broker, ["q"], 3)) as [Delivery, Delivery, Delivery];
      const now = Date.now();
      await broker.settle(
        taken.map((delivery, i) => ({ delivery, end: { kind: "park", dueAt: now - 1000 + [30, 10, 20][i]! } satisfies LoanEnd })),
      );
      const other = await stand.open();
      await eventually("all returned", async () => {
        await other.delayed?.unpark();
        return (await ready(broker, "q")) === 4;
      });
      const again = await take(broker, ["q"], 4);
      expect(again.map(idOf)).toEqual(["b", "c", "a", "z"]);
      expect(again[0]?.losses).toBe(0);
      expect(again[0]?.open().message.headers).toMatchObject({ ...DELICATE });
      expect(await broker.depth(["q"])).toMatchObject([{ parked: 0 }]);
    });

    test("a message can be parked with other headers", async () => {
      await publish(broker, "q", "a");
      const [delivery] = (await take(broker, ["q"], 1)) as [Delivery];
      const message = makeMessage({ id: "a", headers: { seen: 3 } });
      await broker.settle([{ delivery, end: { kind: "park", dueAt: Date.now() - 1, message } }]);
      await broker.delayed?.unpark();
      const [again] = (await take(broker, ["q"], 1)) as [Delivery];
      expect(again.open().message.headers["seen"]).toBe(3);
      expect(again.open().info.routingKey).toBe("q");
    });

    test("flush returns all, purge forgets all", async () => {
      await publish(broker, "q", "a", "b");
      await publish(broker, "other", "c");
      await settleAll(broker, [...(await take(broker, ["q"], 2)), ...(await take(broker, ["other"], 1))], {
        kind: "park",
        dueAt: inAnHour(),
      });
      expect(await broker.delayed?.flush("q")).toBe(2);
      expect(await broker.depth(["q", "other"])).toMatchObject([
        { ready: 2, parked: 0 },
        { ready: 0, parked: 1 },
      ]);
      expect(await broker.purge("other")).toBe(1);
      expect(await broker.delayed?.flush()).toBe(0);
      expect(await broker.depth(["other"])).toMatchObject([{ ready: 0, parked: 0 }]);
    });
  });
}
