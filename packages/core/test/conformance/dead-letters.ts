/** What every broker does with dead letters. Part of `broker.ts`. */
import { beforeEach, describe, expect, test } from "vitest";
import type { Broker, DeadLetter, DeadLetterFilter, Delivery } from "../../src/brokers/broker.ts";
import type { DeadLetterCapsSpec } from "../../src/brokers/dead-letter-filter.ts";
import { encodeEnvelope } from "../../src/protocol/envelope.ts";
import { idOf, makeMessage, take, toQueue } from "../support/broker-hands.ts";
import { eventually } from "../support/eventually.ts";
import { type BrokerStand, bury, deadRecord, DELICATE, publish, type Scene } from "./scene.ts";

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

const tagOf = (envelope: string): string => /"delivery_tag": "([^"]*)"/.exec(envelope)?.[1] ?? "";

export function deadLettersConformance(scene: () => Scene): void {
  let broker: Broker;
  let stand: BrokerStand;
  beforeEach(() => void ({ broker, stand } = scene()));

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
      await publish(broker, "q", ...ids);
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
      await bury(broker, await take(broker, ["q"], 1), { reason: "expired" });
      await broker.deadLetters?.restore("q", "a");
      const [again] = (await take(broker, ["q"], 1)) as [Delivery];
      expect(again.losses).toBe(0);
      expect(again.open().message.headers).toMatchObject({ id: "a", retries: 0, expires: null, lovage_unknown_since: null });
    });

    test("losses are forgotten", async () => {
      await publish(broker, "q", "a");
      const [lost] = (await take(broker, ["q"], 1)) as [Delivery];
      await broker.settle([{ delivery: lost, end: { kind: "requeue", to: "front", isLoss: true } }]);
      const taken = await take(broker, ["q"], 1);
      expect(taken[0]?.losses).toBe(1);
      await bury(broker, taken);
      await broker.deadLetters?.restore("q", "a");
      expect((await take(broker, ["q"], 1))[0]?.losses).toBe(0);
    });

    test("what is restored in another form is that form", async () => {
      await publish(broker, "q", "a");
      const [delivery] = (await take(broker, ["q"], 1)) as [Delivery];
      await bury(broker, [delivery]);
      const raw = encodeEnvelope(makeMessage({ id: "a", headers: { edited: true } }), { exchange: "", routingKey: "q" }, "tag");
      expect(await broker.deadLetters?.restore("q", "a", { raw })).toBe(true);
      expect((await take(broker, ["q"], 1))[0]?.open().message.headers).toMatchObject({ edited: true });
    });

    test("one is found by its id, with all that its record says", async () => {
      await publish(broker, "q", "a", "b");
      const record = { stack: "Error: no\n    at run", retries: 2, task: undefined };
      await bury(broker, await take(broker, ["q"], 2), record);
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
      await publish(broker, "q", ...kinds.map(({ id }) => id));
      const taken = await take(broker, ["q"], 4);
      for (const [i, kind] of kinds.entries()) await bury(broker, [taken[i] as Delivery], kind);
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
      await publish(broker, "q", "same", "same");
      for (const delivery of await take(broker, ["q"], 2))
        await broker.settle([{ delivery, end: { kind: "deadLetter", record: deadRecord("same") } }]);
      expect(await broker.depth(["q"])).toMatchObject([{ dead: 2 }]);
    });

    test("what is no envelope is delivered, cannot be opened, and is kept byte for byte", async () => {
      if (!stand.inject) throw new Error("nothing can be put into this broker from outside");
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
}
