/**
 * What every broker does. A driver runs it with a stand of its own: one store, and as many brokers on it as a test opens, as if
 * each were another process. Times are real and short.
 */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { Broker, DeadLetter, DeadLetterFilter, DeadLetterRecord, Delivery, LoanEnd } from "../../src/brokers/broker.ts";
import type { DeadLetterCapsSpec } from "../../src/brokers/dead-letter-filter.ts";
import { BrokerTimeoutError, PublishError } from "../../src/brokers/errors.ts";
import type { RevocationCapsSpec } from "../../src/brokers/revocation-caps.ts";
import { encodeEnvelope } from "../../src/protocol/envelope.ts";
import type { ResultBackend } from "../../src/results/result-backend.ts";
import { eventually } from "../support/eventually.ts";
import { dueAndSearchConformance } from "./due-and-search.ts";
import { groupSettlementConformance } from "./groups.ts";
import { idOf, makeMessage, settleAll, Slots, take, toQueue } from "../support/broker-hands.ts";
import { orderConformance } from "./order.ts";
import { pausesConformance } from "./pauses.ts";
import { uniquesConformance } from "./uniques.ts";
import { fairnessConformance } from "./fairness.ts";
import { aggregatesConformance } from "./aggregates.ts";
import { checkpointsConformance } from "./checkpoints.ts";
import { limitsConformance } from "./limits.ts";
import { revocationsConformance } from "./revocations.ts";

export interface BrokerStand extends AsyncDisposable {
  /** Another broker on the same store. The stand closes it. */
  open(caps?: DeadLetterCapsSpec & RevocationCapsSpec): Promise<Broker>;
  /** A result backend on the same store, where `settlesWith` is to be true. */
  openBackend?(): Promise<ResultBackend>;
  /** Puts a text into a queue as a foreign producer would, at the end that is taken last. */
  inject?(queue: string, raw: string | Uint8Array): Promise<void>;
}

const LEASE_MS = 300;
const SWEEPING = { maxDeliveries: 3, leaseMs: LEASE_MS, visibilityTimeoutMs: 3_600_000 };
const tagOf = (envelope: string): string => /"delivery_tag": "([^"]*)"/.exec(envelope)?.[1] ?? "";

async function allLetters(broker: Broker, queue: string, limit: number, filter?: DeadLetterFilter): Promise<DeadLetter[]> {
  const all: DeadLetter[] = [];
  let cursor: string | undefined;
  do {
    const page = await broker.deadLetters?.page(queue, { limit, ...(cursor && { cursor }), ...(filter && { filter }) });
    expect(page?.entries.length).toBeLessThanOrEqual(limit);
    all.push(...(page?.entries ?? []));
    cursor = page?.cursor;
  } while (cursor !== undefined);
  return all;
}

/** Values that a careless round trip through a JSON parser changes. */
const DELICATE = { long: 12345678901234567890n, empty: [], none: {}, nothing: null, text: 'é\u2028"\\' };

export function brokerConformance(name: string, openStand: () => Promise<BrokerStand>): void {
  describe(`broker conformance: ${name}`, () => {
    let stand: BrokerStand;
    let broker: Broker;

    beforeEach(async () => {
      stand = await openStand();
      broker = await stand.open();
    });
    afterEach(async () => {
      await stand[Symbol.asyncDispose]();
    });

    const publish = async (queue: string, ...ids: readonly string[]): Promise<void> =>
      await broker.publish(ids.map((id) => toQueue(queue, { id })));
    const ready = async (queue: string): Promise<number> => (await broker.depth([queue]))[0]?.ready ?? Number.NaN;
    const deadRecord = (id: string): DeadLetterRecord => ({
      id,
      task: "tests.add",
      reason: "rejected",
      error: "no",
      worker: "one",
      at: 1_700_000_000_000,
      losses: 0,
      retries: 0,
    });
    const bury = async (deliveries: readonly Delivery[], record: Partial<DeadLetterRecord> = {}): Promise<void> => {
      for (const delivery of deliveries)
        await broker.settle([{ delivery, end: { kind: "deadLetter", record: { ...deadRecord(idOf(delivery)), ...record } } }]);
    };
    /** What `worker` held is swept by another process, as after its death. */
    const sweepAway = async (
      worker: string,
      sweeper: Broker,
      maxDeliveries = SWEEPING.maxDeliveries,
    ): Promise<{ returned: number; deadLettered: number }> =>
      await eventually(`the sweep of ${worker}`, async () => {
        const report = await sweeper.leases?.sweep({ ...SWEEPING, maxDeliveries });
        return report?.workers.includes(worker) ? { returned: report.returned, deadLettered: report.deadLettered } : undefined;
      });

    groupSettlementConformance(() => ({
      broker,
      openBackend: async () => await (stand.openBackend as () => Promise<ResultBackend>)(),
      open: () => stand.open(),
    }));
    describe("groups of messages", () => {
      aggregatesConformance({ broker: () => broker, open: async () => await stand.open(), sweepAway, leaseMs: LEASE_MS });
    });

    describe("checkpoints", () => {
      checkpointsConformance({ broker: () => broker, open: async () => await stand.open(), sweepAway, leaseMs: LEASE_MS });
    });
    dueAndSearchConformance(() => ({
      broker,
      openBackend: async () => await (stand.openBackend as () => Promise<ResultBackend>)(),
      open: () => stand.open(),
    }));

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
        await publish("q", ...ids.slice(0, 30));
        await publish("q", ...ids.slice(30));
        expect((await take(broker, ["q"], 50, { slots: 7 })).map(idOf)).toEqual(ids);
      });

      test("priority 0 is served before 3, 6 and 9", async () => {
        await broker.publish([9, 6, 3, 0, 9, 0].map((priority, i) => toQueue("q", { id: `${priority}-${i}`, priority })));
        expect((await take(broker, ["q"], 6, { slots: 1 })).map((delivery) => idOf(delivery)[0])).toEqual(["0", "0", "3", "6", "9", "9"]);
      });

      test("never more than the free slots are yielded", async () => {
        await publish("q", ...Array.from({ length: 40 }, (_, i) => `m${i}`));
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
        await publish("q", ...Array.from({ length: 20 }, (_, i) => `m${i}`));
        const held = await take(broker, ["q"], 3);
        await eventually("17 ready", async () => (await ready("q")) === 17);
        expect((await take(broker, ["q"], 17, { worker: "two" })).map(idOf)).toEqual(Array.from({ length: 17 }, (_, i) => `m${i + 3}`));
        expect(held.map(idOf)).toEqual(["m0", "m1", "m2"]);
      });

      test("what is on loan is delivered to nobody else", async () => {
        await publish("q", "a", "b");
        const [first] = await take(broker, ["q"], 1, { worker: "one" });
        const other = await stand.open();
        const [second] = await take(other, ["q"], 1, { worker: "two" });
        expect([first, second].map((each) => idOf(each as Delivery))).toEqual(["a", "b"]);
        expect(await ready("q")).toBe(0);
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
        for (const id of ids) await publish("q", id);
        await eventually("all taken", () => counts.size === ids.length);
        stop.abort();
        await Promise.all(consuming);
        expect([...counts.values()].every((count) => count === 1)).toBe(true);
        expect(await ready("q")).toBe(0);
      });

      test("several queues get their share of few slots", async () => {
        for (const queue of ["a", "b", "c"]) await publish(queue, ...Array.from({ length: 20 }, (_, i) => `${queue}${i}`));
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
        await publish("q", "a");
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

    describe("the end of a loan", () => {
      test("a loan ends once: the second settlement is lost and does nothing", async () => {
        await publish("q", "a");
        const [delivery] = (await take(broker, ["q"], 1)) as [Delivery];
        expect(await settleAll(broker, [delivery])).toEqual(["settled"]);
        expect(await broker.settle([{ delivery, end: { kind: "requeue", to: "front" }, publish: [toQueue("next", { id: "b" })] }])).toEqual(
          ["lost"],
        );
        expect(await ready("q")).toBe(0);
        expect(await ready("next")).toBe(0);
      });

      test("of one loan named twice in a call, one settlement counts", async () => {
        await publish("q", "a");
        const [delivery] = (await take(broker, ["q"], 1)) as [Delivery];
        const answers = await broker.settle([
          { delivery, end: { kind: "ack" } },
          { delivery, end: { kind: "requeue", to: "front" } },
        ]);
        expect(answers.toSorted()).toEqual(["lost", "settled"]);
        expect(await ready("q")).toBe(0);
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
        await publish("q", ...ids);
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
        await publish("q", "a", "b");
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
        expect(await ready("q")).toBe(0);
      });

      test("results are stored in the step that ends the loan, and SUCCESS stays", async () => {
        if (!stand.openBackend) return;
        const backend = await stand.openBackend();
        expect(broker.settlesWith(backend)).toBe(true);
        await publish("q", "a", "b");
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
        await publish("q", "a");
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
          return (await ready("q")) === 4;
        });
        const again = await take(broker, ["q"], 4);
        expect(again.map(idOf)).toEqual(["b", "c", "a", "z"]);
        expect(again[0]?.losses).toBe(0);
        expect(again[0]?.open().message.headers).toMatchObject({ ...DELICATE });
        expect(await broker.depth(["q"])).toMatchObject([{ parked: 0 }]);
      });

      test("a message can be parked with other headers", async () => {
        await publish("q", "a");
        const [delivery] = (await take(broker, ["q"], 1)) as [Delivery];
        const message = makeMessage({ id: "a", headers: { seen: 3 } });
        await broker.settle([{ delivery, end: { kind: "park", dueAt: Date.now() - 1, message } }]);
        await broker.delayed?.unpark();
        const [again] = (await take(broker, ["q"], 1)) as [Delivery];
        expect(again.open().message.headers["seen"]).toBe(3);
        expect(again.open().info.routingKey).toBe("q");
      });

      test("flush returns all, purge forgets all", async () => {
        await publish("q", "a", "b");
        await publish("other", "c");
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

    describe("purge and depth", () => {
      test("purge discards what is ready, in all priorities, and not what is on loan", async () => {
        await broker.publish([toQueue("q", { id: "a" }), toQueue("q", { id: "b", priority: 3 }), toQueue("q", { id: "c", priority: 9 })]);
        const taken = await take(broker, ["q"], 1);
        expect(await broker.purge("q")).toBe(2);
        expect(await broker.purge("q")).toBe(0);
        expect(await settleAll(broker, taken, { kind: "requeue", to: "front" })).toEqual(["settled"]);
        expect(await ready("q")).toBe(1);
      });

      test("depth answers for each queue asked, in order, also for unknown ones", async () => {
        await publish("b", "x", "y");
        expect((await broker.depth(["a", "b"])).map(({ queue, ready: count }) => [queue, count])).toEqual([
          ["a", 0],
          ["b", 2],
        ]);
      });
    });

    describe("dead letters", () => {
      test("a dead letter keeps its bytes and its record, and can be restored", async () => {
        await broker.publish([toQueue("q", { id: "a", headers: { ...DELICATE } })]);
        const [delivery] = (await take(broker, ["q"], 1)) as [Delivery];
        expect(await broker.settle([{ delivery, end: { kind: "deadLetter", record: deadRecord("a") } }])).toEqual(["settled"]);
        expect(await broker.depth(["q"])).toMatchObject([{ ready: 0, dead: 1 }]);
        const page = await broker.deadLetters?.page("q", { limit: 10 });
        expect(page?.entries).toHaveLength(1);
        expect(page?.entries[0]).toMatchObject({ ...deadRecord("a"), queue: "q" });
        expect(Buffer.from(page?.entries[0]?.raw ?? "").toString()).toBe(Buffer.from(delivery.raw).toString());
        expect(await broker.deadLetters?.restore("q", "nobody")).toBe(false);
        expect(await broker.deadLetters?.restore("q", "a")).toBe(true);
        const [again] = (await take(broker, ["q"], 1)) as [Delivery];
        const [kept, restored] = [delivery, again].map(({ raw }) => Buffer.from(raw).toString()) as [string, string];
        expect(restored.replace(tagOf(restored), "")).toBe(kept.replace(tagOf(kept), ""));
        expect(tagOf(restored)).not.toBe(tagOf(kept)); // kombu takes two messages of one tag for one
        expect(await broker.depth(["q"])).toMatchObject([{ dead: 0 }]);
      });

      test("pages run from the newest to the oldest, each entry once", async () => {
        const ids = Array.from({ length: 7 }, (_, i) => `m${i}`);
        await publish("q", ...ids);
        const taken = await take(broker, ["q"], 7, { slots: 1 });
        for (const delivery of taken) await broker.settle([{ delivery, end: { kind: "deadLetter", record: deadRecord(idOf(delivery)) } }]);
        const seen: string[] = [];
        let cursor: string | undefined;
        do {
          const page = await broker.deadLetters?.page("q", { limit: 3, ...(cursor === undefined ? {} : { cursor }) });
          expect(page?.entries.length).toBeLessThanOrEqual(3);
          seen.push(...(page?.entries.map(({ id }) => id) ?? []));
          cursor = page?.cursor;
        } while (cursor !== undefined);
        expect(seen).toEqual(ids.toReversed());
        expect(await broker.deadLetters?.purge("q")).toBe(7);
        expect((await broker.deadLetters?.page("q", { limit: 3 }))?.entries).toEqual([]);
      });

      test("what is restored begins anew: no losses, no retries, no deadline that has passed", async () => {
        await broker.publish([
          toQueue("q", { id: "a", headers: { retries: 3, expires: "2020-01-01T00:00:00+00:00", lovage_unknown_since: 1 } }),
        ]);
        await bury(await take(broker, ["q"], 1), { reason: "expired" });
        await broker.deadLetters?.restore("q", "a");
        const [again] = (await take(broker, ["q"], 1)) as [Delivery];
        expect(again.losses).toBe(0);
        expect(again.open().message.headers).toMatchObject({ id: "a", retries: 0, expires: null, lovage_unknown_since: null });
      });

      test("losses are forgotten", async () => {
        await publish("q", "a");
        const [lost] = (await take(broker, ["q"], 1)) as [Delivery];
        await broker.settle([{ delivery: lost, end: { kind: "requeue", to: "front", isLoss: true } }]);
        const taken = await take(broker, ["q"], 1);
        expect(taken[0]?.losses).toBe(1);
        await bury(taken);
        await broker.deadLetters?.restore("q", "a");
        expect((await take(broker, ["q"], 1))[0]?.losses).toBe(0);
      });

      test("what is restored in another form is that form", async () => {
        await publish("q", "a");
        const [delivery] = (await take(broker, ["q"], 1)) as [Delivery];
        await bury([delivery]);
        const raw = encodeEnvelope(makeMessage({ id: "a", headers: { edited: true } }), { exchange: "", routingKey: "q" }, "tag");
        expect(await broker.deadLetters?.restore("q", "a", { raw })).toBe(true);
        expect((await take(broker, ["q"], 1))[0]?.open().message.headers).toMatchObject({ edited: true });
      });

      test("one is found by its id, with all that its record says", async () => {
        await publish("q", "a", "b");
        const record = { stack: "Error: no\n    at run", retries: 2, task: undefined };
        await bury(await take(broker, ["q"], 2), record);
        expect(await broker.deadLetters?.get("q", "a")).toMatchObject({ ...deadRecord("a"), ...record, queue: "q" });
        expect(await broker.deadLetters?.get("q", "nobody")).toBeUndefined();
        expect(await broker.deadLetters?.get("nowhere", "a")).toBeUndefined();
        expect(await broker.deadLetters?.remove("q", "a")).toBe(true);
        expect(await broker.deadLetters?.remove("q", "a")).toBe(false);
        expect(await broker.deadLetters?.get("q", "a")).toBeUndefined();
        expect(await broker.depth(["q"])).toMatchObject([{ ready: 0, dead: 1 }]);
      });

      test("reason, task and age choose which are shown, counted and discarded", async () => {
        const at = 1_700_000_000_000;
        const kinds = [
          { id: "a", reason: "poison", task: "x", at },
          { id: "b", reason: "rejected", task: "x", at: at + 1 },
          { id: "c", reason: "rejected", task: "y", at: at + 2 },
          { id: "d", reason: "undecodable", task: undefined, at: at + 3 },
        ] as const;
        await publish("q", ...kinds.map(({ id }) => id));
        const taken = await take(broker, ["q"], 4);
        for (const [i, kind] of kinds.entries()) await bury([taken[i] as Delivery], kind);
        const ids = async (filter: DeadLetterFilter): Promise<string[]> => (await allLetters(broker, "q", 2, filter)).map(({ id }) => id);
        expect(await ids({ reasons: ["rejected", "poison"] })).toEqual(["c", "b", "a"]);
        expect(await ids({ tasks: ["x"] })).toEqual(["b", "a"]);
        expect(await ids({ since: at + 1, before: at + 3 })).toEqual(["c", "b"]);
        expect(await ids({ tasks: ["x"], reasons: ["undecodable"] })).toEqual([]);
        expect(await ids({ tasks: ["none"] })).toEqual([]);
        expect(await broker.deadLetters?.count("q")).toEqual({ poison: 1, rejected: 2, undecodable: 1 });
        expect(await broker.deadLetters?.count("q", { tasks: ["x"] })).toEqual({ poison: 1, rejected: 1 });
        expect(await broker.deadLetters?.count("nowhere")).toEqual({});
        expect(await broker.deadLetters?.purge("q", { reasons: ["rejected"] })).toBe(2);
        expect(await ids({})).toEqual(["d", "a"]);
        expect(await broker.depth(["q"])).toMatchObject([{ ready: 0, dead: 2 }]);
      });

      test("caps on number, bytes and age let the oldest go, and never the newest", async () => {
        const buryWith = async (caps: DeadLetterCapsSpec, queue: string, ids: readonly string[]): Promise<string[]> => {
          const capped = await stand.open(caps);
          await capped.publish(ids.map((id) => toQueue(queue, { id, headers: { wide: "w".repeat(1000) } })));
          for (const delivery of await take(capped, [queue], ids.length)) {
            const record = { ...deadRecord(idOf(delivery)), at: Date.now() };
            await capped.settle([{ delivery, end: { kind: "deadLetter", record } }]);
          }
          return (await allLetters(capped, queue, 10)).map(({ id }) => id);
        };
        expect(await buryWith({ deadLetterMax: 2 }, "number", ["a", "b", "c", "d"])).toEqual(["d", "c"]);
        expect(await buryWith({ deadLetterMaxBytes: 4000 }, "bytes", ["a", "b", "c", "d"])).toEqual(["d", "c"]);
        expect(await buryWith({ deadLetterMaxBytes: 10 }, "bytes", ["e"])).toEqual(["e"]);
        expect(await buryWith({ deadLetterMaxBytes: 4000 }, "bytes", ["f"])).toEqual(["f", "e"]); // what went is counted no more
        await buryWith({ deadLetterMaxAgeMs: 60_000 }, "age", ["a", "b"]);
        const now = Date.now();
        await eventually("the letters' being older than 20 ms", async () => Date.now() > now + 20);
        expect(await buryWith({ deadLetterMaxAgeMs: 20 }, "age", ["c"])).toEqual(["c"]);
      });

      test("what is older than the age cap goes when it is asked for, without another letter, and only where it is asked for", async () => {
        const capped = await stand.open({ deadLetterMaxAgeMs: 50 });
        for (const queue of ["old", "other"]) {
          await capped.publish(["a", "b"].map((id) => toQueue(queue, { id })));
          const records = (await take(capped, [queue], 2)).map((delivery) => ({ delivery, at: Date.now() }));
          for (const { delivery, at } of records)
            await capped.settle([{ delivery, end: { kind: "deadLetter", record: { ...deadRecord(idOf(delivery)), at } } }]);
        }
        const lasting = await stand.open({});
        expect(await lasting.deadLetters?.expire(["old"])).toBe(0);
        await eventually("both have gone", async () => {
          await capped.deadLetters?.expire(["old", "nowhere"]);
          return (await allLetters(capped, "old", 10)).length === 0;
        });
        expect(await capped.depth(["old", "other"])).toMatchObject([{ dead: 0 }, { dead: 2 }]);
      });

      test("two messages of one task id are both kept", async () => {
        await publish("q", "same", "same");
        for (const delivery of await take(broker, ["q"], 2))
          await broker.settle([{ delivery, end: { kind: "deadLetter", record: deadRecord("same") } }]);
        expect(await broker.depth(["q"])).toMatchObject([{ dead: 2 }]);
      });

      test("what is no envelope is delivered, cannot be opened, and is kept byte for byte", async () => {
        if (!stand.inject) return;
        const raw = '{"body": "not an envelope';
        await stand.inject("q", raw);
        const [delivery] = (await take(broker, ["q"], 1)) as [Delivery];
        expect(() => delivery.open()).toThrowError(/./);
        await broker.settle([{ delivery, end: { kind: "requeue", to: "front" } }]);
        const [again] = (await take(broker, ["q"], 1)) as [Delivery];
        await broker.settle([{ delivery: again, end: { kind: "deadLetter", record: deadRecord("x") } }]);
        const page = await broker.deadLetters?.page("q", { limit: 1 });
        expect(Buffer.from(page?.entries[0]?.raw ?? "").toString()).toBe(raw);
      });
    });

    describe("leases", () => {
      test("a worker whose lease runs out loses its loans: returned in order, marked, counted as lost", async () => {
        if (!broker.leases) return;
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
        expect(await ready("next")).toBe(0);
        expect((await broker.leases.renew("one", LEASE_MS)).held).toBe(false);
        expect((await broker.leases.renew("one", LEASE_MS)).held).toBe(true);
        expect(await settleAll(other, again)).toEqual(["settled", "settled"]);
      });

      test("a worker whose lease is renewed keeps its loans", async () => {
        if (!broker.leases) return;
        await publish("q", "a");
        await broker.leases.renew("one", 60_000);
        const taken = await take(broker, ["q"], 1, { worker: "one" });
        await broker.leases.renew("one", 60_000);
        const other = await stand.open();
        await other.leases?.renew("dead", 1);
        await sweepAway("dead", other);
        expect(await settleAll(broker, taken)).toEqual(["settled"]);
        expect(await ready("q")).toBe(0);
      });

      test("a requeue that says it is a loss counts as one, and is marked redelivered like any other", async () => {
        await publish("q", "a", "b");
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
        if (!broker.leases) return;
        await publish("q", "a");
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
          await holder.leases?.renew(worker, 1);
          expect(await sweepAway(worker, broker)).toEqual(
            losses === 2 ? { returned: 0, deadLettered: 1 } : { returned: 1, deadLettered: 0 },
          );
        }
        const page = await broker.deadLetters?.page("q", { limit: 10 });
        expect(page?.entries).toMatchObject([{ reason: "poison", losses: 3, task: "tests.add" }]);
        expect(await broker.depth(["q"])).toMatchObject([{ ready: 0, dead: 1 }]);
      });

      test("release gives the loans back at once, not as losses, and ends the lease", async () => {
        if (!broker.leases) return;
        await publish("q", "a", "b");
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
        if (!broker.leases) return;
        await publish("q", "a");
        await broker.leases.renew("one", 60_000);
        await take(broker, ["q"], 1, { worker: "one" });
        const reborn = await stand.open();
        const [again] = (await take(reborn, ["q"], 1, { worker: "one", withinMs: 15_000 })) as [Delivery];
        expect(again.losses).toBe(1);
        expect(again.open().info.redelivered).toBe(true);
      });

      test("the clock offset is the broker's clock minus ours", async () => {
        if (!broker.leases) return;
        const { clockOffsetMs } = await broker.leases.renew("one", 60_000);
        expect(Math.abs(clockOffsetMs)).toBeLessThan(1000);
      });
    });

    describe("exchanges", () => {
      const spec = (queue: string, exchange: string, exchangeType: "direct" | "topic", routingKey: string) => ({
        name: queue,
        exchange,
        exchangeType,
        routingKey,
      });

      test("a direct exchange reaches the queues bound with the very key", async () => {
        await broker.bind([spec("a", "ex", "direct", "k"), spec("b", "ex", "direct", "k"), spec("c", "ex", "direct", "other")]);
        const other = await stand.open();
        await other.publish([{ message: makeMessage({ id: "m" }), exchange: "ex", routingKey: "k" }]);
        expect((await broker.depth(["a", "b", "c"])).map((each) => each.ready)).toEqual([1, 1, 0]);
        const [delivery] = (await take(broker, ["a"], 1)) as [Delivery];
        expect(delivery.open().info).toEqual({ exchange: "ex", routingKey: "k", redelivered: false });
      });

      test("a topic exchange reaches the queues whose pattern matches", async () => {
        await broker.bind([spec("all", "news", "topic", "#"), spec("eu", "news", "topic", "eu.*"), spec("dk", "news", "topic", "eu.dk")]);
        for (const routingKey of ["eu.dk", "eu.se", "us"])
          await broker.publish([{ message: makeMessage({ id: routingKey }), exchange: "news", routingKey }]);
        expect((await broker.depth(["all", "eu", "dk"])).map((each) => each.ready)).toEqual([3, 2, 1]);
      });

      test("a message that no queue is bound for is refused, and the others are held", async () => {
        const messages = [toQueue("q", { id: "a" }), { message: makeMessage({ id: "b" }), exchange: "nowhere", routingKey: "k" }];
        const error: unknown = await broker.publish(messages).catch((thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(PublishError);
        expect((error as PublishError).fates).toEqual(["held", "refused"]);
        expect(await ready("q")).toBe(1);
      });

      test("a publish whose signal has aborted says that nothing was sent", async () => {
        const error: unknown = await broker
          .publish([toQueue("q", { id: "a" })], { signal: AbortSignal.abort(new BrokerTimeoutError("here", "too late")) })
          .catch((thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(PublishError);
        expect((error as PublishError).fates).toEqual(["refused"]);
        expect(await ready("q")).toBe(0);
      });
    });

    describe("broadcast", () => {
      test("every subscriber gets every message whose key matches, until it ends", async () => {
        if (!broker.broadcast) return;
        const other = await stand.open();
        const stop = new AbortController();
        const seen = new Map<string, string[]>([
          ["all", []],
          ["some", []],
          ["else", []],
        ]);
        const listen = async (name: string, on: Broker, exchange: string, pattern: string): Promise<void> => {
          for await (const message of on.broadcast!.subscribe(exchange, pattern, stop.signal))
            seen.get(name)?.push(String(message.headers["id"]));
        };
        const listening = [listen("all", broker, "ev", "#"), listen("some", other, "ev", "task.*"), listen("else", other, "ev2", "#")];
        await eventually("both listen", async () => {
          await broker.broadcast?.publish(makeMessage({ id: "hello" }), "ev", "task.hello");
          return ["all", "some"].every((name) => seen.get(name)?.includes("hello"));
        });
        await broker.broadcast.publish(makeMessage({ id: "worker" }), "ev", "worker.heartbeat");
        await broker.broadcast.publish(makeMessage({ id: "task" }), "ev", "task.sent");
        await eventually("the last arrived", () => ["all", "some"].every((name) => seen.get(name)?.includes("task")));
        expect(seen.get("all")?.filter((id) => id !== "hello")).toEqual(["worker", "task"]);
        expect(seen.get("some")?.filter((id) => id !== "hello")).toEqual(["task"]);
        expect(seen.get("else")).toEqual([]);
        stop.abort();
        await Promise.all(listening);
      });
    });

    revocationsConformance(() => stand);
    pausesConformance(() => stand);
    uniquesConformance(() => stand);
    fairnessConformance(
      () => stand,
      () => broker,
    );
    limitsConformance(() => stand);
    orderConformance(() => stand);

    test("whatever is done, each message is ready, parked, dead, on loan or settled, and only one of them", async () => {
      const step = fc.oneof(
        {
          weight: 3,
          arbitrary: fc.record({
            kind: fc.constant("publish" as const),
            count: fc.integer({ min: 1, max: 5 }),
            priority: fc.constantFrom(0, 3, 9),
          }),
        },
        {
          weight: 3,
          arbitrary: fc.record({
            kind: fc.constant("take" as const),
            count: fc.integer({ min: 1, max: 4 }),
            worker: fc.constantFrom("w1", "w2"),
          }),
        },
        {
          weight: 4,
          arbitrary: fc.record({
            kind: fc.constant("settle" as const),
            end: fc.constantFrom("ack", "front", "back", "putBack", "park", "deadLetter"),
            which: fc.nat(10),
            follow: fc.boolean(),
          }),
        },
        { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("flush" as const, "release" as const, "restore" as const) }) },
      );
      let run = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
          const queue = `prop${++run}`;
          const brokers = new Map([
            ["w1", await stand.open()],
            ["w2", await stand.open()],
          ]);
          const name = (worker: string): string => `${worker}-${run}`;
          const held: { delivery: Delivery; worker: string }[] = [];
          let published = 0;
          let acked = 0;
          const newIds = (count: number): string[] => Array.from({ length: count }, () => `${run}-${published++}`);
          for (const each of steps) {
            const total = (await broker.depth([queue]))[0]!;
            if (each.kind === "publish")
              await broker.publish(newIds(each.count).map((id) => toQueue(queue, { id, priority: each.priority })));
            else if (each.kind === "take" && total.ready > 0) {
              const taken = await take(brokers.get(each.worker)!, [queue], Math.min(each.count, total.ready), {
                worker: name(each.worker),
              });
              held.push(...taken.map((delivery) => ({ delivery, worker: each.worker })));
            } else if (each.kind === "settle" && held.length > 0) {
              const [{ delivery, worker }] = held.splice(each.which % held.length, 1) as [(typeof held)[number]];
              const ends: Record<typeof each.end, LoanEnd> = {
                ack: { kind: "ack" },
                front: { kind: "requeue", to: "front" },
                back: { kind: "requeue", to: "back" },
                putBack: { kind: "putBack" },
                park: { kind: "park", dueAt: Date.now() + 3_600_000 },
                deadLetter: { kind: "deadLetter", record: deadRecord(idOf(delivery)) },
              };
              const publishes = each.follow ? newIds(1).map((id) => toQueue(queue, { id })) : [];
              expect(await brokers.get(worker)!.settle([{ delivery, end: ends[each.end], publish: publishes }])).toEqual(["settled"]);
              if (each.end === "ack") acked += 1;
            } else if (each.kind === "flush") await broker.delayed?.flush(queue);
            else if (each.kind === "restore") {
              const page = await broker.deadLetters?.page(queue, { limit: 1 });
              for (const { id } of page?.entries ?? []) expect(await broker.deadLetters?.restore(queue, id)).toBe(true);
            } else if (each.kind === "release" && broker.leases) {
              expect(await broker.leases.release(name("w1"))).toBe(held.filter(({ worker }) => worker === "w1").length);
              for (let i = held.length - 1; i >= 0; i -= 1) if (held[i]?.worker === "w1") held.splice(i, 1);
            }
            const depth = (await broker.depth([queue]))[0]!;
            expect(depth.ready + depth.parked + depth.dead + held.length + acked).toBe(published);
          }
          await broker.delayed?.flush(queue);
          for (const { id } of (await broker.deadLetters?.page(queue, { limit: 1000 }))?.entries ?? [])
            await broker.deadLetters?.restore(queue, id);
          const left = published - acked - held.length;
          const rest = left === 0 ? [] : await take(broker, [queue], left, { worker: `rest-${run}` });
          const ids = [...rest, ...held.map(({ delivery }) => delivery)].map(idOf);
          expect(new Set(ids).size).toBe(ids.length);
          expect(await settleAll(broker, rest)).toEqual(rest.map(() => "settled"));
          for (const each of brokers.values()) await each[Symbol.asyncDispose]();
        }),
        { numRuns: 12 },
      );
    });

    test("an envelope that a foreign producer wrote is read and kept", async () => {
      if (!stand.inject) return;
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
  });
}
