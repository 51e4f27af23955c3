/** What every broker does for a fair queue. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import type { Broker, Delivery } from "../../src/brokers/broker.ts";
import type { Fairness, KeyState } from "../../src/brokers/fairness.ts";
import { decodeEnvelope } from "../../src/protocol/envelope.ts";
import { FAIR_KEY_HEADER } from "../../src/protocol/fair-key.ts";
import { idOf, settleAll, Slots, take as takeAs, type Taking, toQueue } from "../support/broker-hands.ts";
import { eventually } from "../support/eventually.ts";

interface Stand {
  open(): Promise<Broker>;
}

const FAIR = new Set(["q"]);
const LEASE_MS = 300;

export function fairnessConformance(stand: () => Stand, first: () => Broker): void {
  describe("fair queues", () => {
    const publish = async (key: string | number | null, ...ids: readonly string[]): Promise<void> => await publishAt(0, key, ...ids);
    const publishAt = async (priority: number, key: string | number | null, ...ids: readonly string[]): Promise<void> =>
      await first().publish(ids.map((id) => toQueue("q", { id, priority, headers: key === null ? {} : { [FAIR_KEY_HEADER]: key } })));
    const take = async (count: number, taking: Taking = {}): Promise<Delivery[]> =>
      await takeAs(first(), ["q"], count, { fair: FAIR, ...taking });
    const taken = async (count: number, taking: Taking = {}): Promise<string> => (await take(count, taking)).map(idOf).join(" ");
    const fairness = (): Fairness => first().fairness as Fairness;
    const states = async (): Promise<Map<string, KeyState>> => {
      const all = new Map<string, KeyState>();
      let cursor: string | undefined;
      do {
        const page = await fairness().page("q", { limit: 3, ...(cursor && { cursor }) });
        for (const state of page.keys) all.set(state.key, state);
        cursor = page.cursor;
      } while (cursor !== undefined);
      return all;
    };
    const counts = async (): Promise<Record<string, string>> =>
      Object.fromEntries([...(await states())].map(([key, { waiting, running }]) => [key, `${waiting}/${running}`]));
    const ready = async (): Promise<number> => (await first().depth(["q"]))[0]?.ready ?? Number.NaN;

    test("keys have their turns one after the other, however many messages one has", async () => {
      await publish("a", "a1", "a2", "a3", "a4", "a5");
      await publish("b", "b1", "b2");
      await publish(null, "n1");
      await publish(7, "s1");
      expect(await taken(9)).toBe("a1 b1 n1 s1 a2 b2 a3 a4 a5");
    });

    test("what comes later joins the rotation, in whatever portions it is taken", async () => {
      await publish("a", ...Array.from({ length: 30 }, (_, i) => `a${i}`));
      expect(await taken(3, { slots: 1 })).toBe("a0 a1 a2");
      await publish("b", "b0", "b1");
      await publish("c", "c0");
      expect(await taken(6, { slots: 2 })).toBe("a3 b0 c0 a4 b1 a5");
    });

    test("a key with a weight gives so many messages in each of its turns, from the moment it is set", async () => {
      await publish("a", ...Array.from({ length: 20 }, (_, i) => `a${i}`));
      await publish("b", ...Array.from({ length: 20 }, (_, i) => `b${i}`));
      expect(await taken(4, { slots: 1 })).toBe("a0 b0 a1 b1");
      await fairness().set("q", "b", { weight: 3 });
      expect(await taken(8, { slots: 2 })).toBe("a2 b2 b3 b4 a3 b5 b6 b7");
      await fairness().set("q", undefined, { weight: 2 });
      await fairness().set("q", "b", { weight: null });
      expect(await taken(8)).toBe("a4 a5 b8 b9 a6 a7 b10 b11");
    });

    test("priority orders the messages of one key, and puts no key before another", async () => {
      await publishAt(9, "a", "a-late");
      await publishAt(0, "a", "a-soon");
      await publishAt(9, "b", "b-late");
      await publishAt(3, "b", "b-soon");
      await publishAt(0, "b", "b-now");
      expect(await taken(5)).toBe("a-soon b-now a-late b-soon b-late");
    });

    test("a message that is lent is still what was published", async () => {
      await publish('é "x"', "a");
      const [delivery] = await take(1);
      const { message, info } = (delivery as Delivery).open();
      expect(message.headers[FAIR_KEY_HEADER]).toBe('é "x"');
      expect(info).toEqual({ exchange: "", routingKey: "q", redelivered: false });
      expect(await counts()).toEqual({ 'é "x"': "0/1" });
    });

    test("no more of a key run at once than its limit says, and the others are not kept waiting", async () => {
      await fairness().set("q", "a", { limit: 2 });
      await publish("a", "a1", "a2", "a3", "a4");
      await publish("b", "b1", "b2", "b3");
      const running = await take(5);
      expect(running.map(idOf).join(" ")).toBe("a1 b1 a2 b2 b3");
      expect(await counts()).toEqual({ a: "2/2", b: "0/3" });
      const other = await stand().open();
      const more = takeAs(other, ["q"], 2, { fair: FAIR, worker: "two" });
      await settleAll(first(), running.filter((delivery) => idOf(delivery) === "a1")); // prettier-ignore
      await settleAll(first(), running.filter((delivery) => idOf(delivery) === "a2")); // prettier-ignore
      expect((await more).map(idOf)).toEqual(["a3", "a4"]);
    });

    test("a limit ends a turn that its weight would let go on", async () => {
      await fairness().set("q", "a", { limit: 2, weight: 3 });
      await publish("a", "a1", "a2", "a3", "a4");
      await publish("b", "b1", "b2");
      expect(await taken(4)).toBe("a1 a2 b1 b2");
      expect(await counts()).toEqual({ a: "2/2", b: "0/2" });
    });

    test("a key is forgotten once nothing of it waits or runs, and has no turn left over when it comes again", async () => {
      await publish("a", "a1");
      await publish("b", "b1", "b2");
      await settleAll(first(), await take(3));
      await eventually("no key is left", async () => (await states()).size === 0);
      await publish("b", "b3");
      await publish("a", "a2");
      expect(await taken(2)).toBe("b3 a2");
    });

    test("what is put into a group, or is held by a limit, runs no more: the next of its key has its turn at once", async () => {
      const { aggregates, limits } = first();
      await limits?.declare(new Map([["r", { intervalMs: 3_600_000, burst: 1, concurrency: 0 }]]));
      await fairness().set("q", "a", { limit: 1 });
      await publish("a", "a1", "a2", "a3");
      const [a1] = (await take(1)) as [Delivery];
      const second = take(1);
      expect(await aggregates?.fold([{ delivery: a1, group: "g", dueAt: Date.now() + 3_600_000 }])).toEqual([1]);
      const [a2] = (await second) as [Delivery];
      expect(idOf(a2)).toBe("a2");
      const third = taken(1);
      expect((await limits?.admit("one", [{ delivery: a2, id: "a2", limits: ["r"] }]))?.answers).toEqual([{ kind: "waits" }]);
      expect(await third).toBe("a3");
      expect(await counts()).toEqual({ a: "0/1" });
    });

    test("a worker that waits is woken when a limit is raised, a key is resumed, and a message ends", async () => {
      await fairness().set("q", undefined, { limit: 1 });
      await fairness().set("q", "p", { paused: { by: "ann", reason: "abuse", at: 1_700_000_000_000 } });
      await publish("a", "a1", "a2", "a3");
      await publish("p", "p1");
      const slots = new Slots(10);
      const stop = new AbortController();
      const got: Delivery[] = [];
      const consuming = (async () => {
        for await (const batch of first().consume(["q"], { worker: "one", credit: slots, signal: stop.signal, fair: FAIR })) {
          slots.take(batch.length);
          got.push(...batch);
        }
      })();
      const until = async (ids: string): Promise<unknown> =>
        await eventually(`${ids} to have been taken`, () => got.map(idOf).join(" ") === ids || undefined);
      await until("a1");
      expect(await ready()).toBe(3);
      expect((await states()).get("p")).toMatchObject({
        waiting: 1,
        running: 0,
        paused: { by: "ann", reason: "abuse", at: 1_700_000_000_000 },
      });
      const startedAt = performance.now();
      await settleAll(first(), [got[0] as Delivery]);
      await until("a1 a2");
      await fairness().set("q", "a", { limit: 2 });
      await until("a1 a2 a3");
      await fairness().set("q", "p", { paused: null });
      await until("a1 a2 a3 p1");
      expect(performance.now() - startedAt).toBeLessThan(2500); // woken, not found by a look every few seconds
      stop.abort();
      await consuming;
      await settleAll(first(), got.slice(1));
      await fairness().set("q", undefined, { limit: null });
      await fairness().set("q", "a", { limit: null });
      expect(await counts()).toEqual({});
      expect(await ready()).toBe(0);
    });

    test("what goes back to the front is the first of its key again, in its order; what goes to the back is the last", async () => {
      await publish("a", "a1", "a2", "a3", "a4");
      await publish("b", "b1", "b2", "b3");
      const [a1, b1, a2, b2] = (await take(4)) as [Delivery, Delivery, Delivery, Delivery];
      await first().settle([
        { delivery: a1, end: { kind: "requeue", to: "front" } },
        { delivery: a2, end: { kind: "putBack" } },
        { delivery: b1, end: { kind: "requeue", to: "back" } },
        { delivery: b2, end: { kind: "putBack" } },
      ]);
      const again = await take(7);
      expect(again.filter((delivery) => idOf(delivery).startsWith("a")).map(idOf).join(" ")).toBe("a1 a2 a3 a4"); // prettier-ignore
      expect(again.filter((delivery) => idOf(delivery).startsWith("b")).map(idOf).join(" ")).toBe("b2 b3 b1"); // prettier-ignore
      const redelivered = new Map(again.map((delivery) => [idOf(delivery), delivery.open().info.redelivered]));
      expect(redelivered.get("a1")).toBe(true);
      expect(redelivered.get("a2")).toBe(false);
    });

    test("what a dead worker held returns to the front of its key, and no longer counts as running", async () => {
      await fairness().set("q", undefined, { limit: 2 });
      await publish("a", "a1", "a2", "a3");
      const dead = await stand().open();
      await dead.leases?.renew("dead", LEASE_MS);
      expect((await takeAs(dead, ["q"], 2, { fair: FAIR, worker: "dead" })).map(idOf)).toEqual(["a1", "a2"]);
      expect(await counts()).toEqual({ a: "1/2" });
      await eventually("the sweep of the dead", async () => {
        const report = await first().leases?.sweep({ maxDeliveries: 5, leaseMs: LEASE_MS, visibilityTimeoutMs: 3_600_000 });
        return report?.workers.includes("dead");
      });
      await fairness().tidy(); // as the guard of every worker does
      const again = await take(2, { withinMs: 20_000 });
      expect(again.map(idOf)).toEqual(["a1", "a2"]);
      expect(again.map(({ losses }) => losses)).toEqual([1, 1]);
      await settleAll(first(), again);
      expect(await taken(1)).toBe("a3");
    });

    test("parked messages come back, and dead letters are restored, each to its key", async () => {
      await publish("a", "a1", "a2", "a3");
      const [a1, a2] = (await take(2)) as [Delivery, Delivery];
      const record = {
        id: "a2",
        task: "t",
        reason: "rejected",
        error: "no",
        worker: "one",
        at: 1_700_000_000_000,
        losses: 0,
        retries: 0,
      } as const;
      await first().settle([
        { delivery: a1, end: { kind: "park", dueAt: Date.now() + 3_600_000 } },
        { delivery: a2, end: { kind: "deadLetter", record } },
      ]);
      expect(await first().depth(["q"])).toMatchObject([{ ready: 1, parked: 1, dead: 1 }]);
      expect(await first().delayed?.flush("q")).toBe(1);
      expect(await first().deadLetters?.restore("q", "a2")).toBe(true);
      expect(await taken(3)).toBe("a1 a3 a2");
    });

    test("the depth counts what is sorted, and a purge discards it but not what runs", async () => {
      await fairness().set("q", "a", { limit: 1 });
      await publish("a", "a1", "a2", "a3");
      await publish("b", "b1", "b2", "b3");
      const [a1] = await take(3);
      expect(await ready()).toBe(3);
      expect(await first().purge("q")).toBe(3);
      expect(await ready()).toBe(0);
      expect(await counts()).toEqual({ a: "0/1", b: "0/2" });
      await publish("a", "a4");
      await settleAll(first(), [a1 as Delivery]);
      expect(await taken(1)).toBe("a4");
    });

    test("workers that know nothing of keys get all that was sorted once it is released, each message once", async () => {
      await fairness().set("q", "p", { paused: { by: "ann", reason: "", at: 1 } });
      await publish("a", "a1", "a2", "a3");
      await publish("p", "p1");
      await publish("b", "b1");
      expect(await taken(1)).toBe("a1");
      await publish("c", "c1");
      expect(await fairness().release("q")).toBe(4);
      const left = await takeAs(first(), ["q"], 5, { worker: "two" });
      expect(left.map(idOf).toSorted()).toEqual(["a2", "a3", "b1", "c1", "p1"]);
      await settleAll(first(), left);
      expect(await counts()).toEqual({ a: "0/1", p: "0/0" }); // what runs counts still, and p has settings
      expect(await ready()).toBe(0);
    });

    test("who looks for messages finds those that are sorted", async () => {
      await publish("a", "a1", "a2");
      await publish("b", "b1");
      const [a1] = await take(1);
      await first().settle([{ delivery: a1 as Delivery, end: { kind: "park", dueAt: Date.now() + 3_600_000 } }]);
      const found: string[] = [];
      for await (const page of first().search?.messages({ queues: ["q"], limit: 100 }) ?? [])
        for (const { at, raw } of page) found.push(`${at.kind} ${String(decodeEnvelope(raw).message.headers["id"])}`);
      expect(found.toSorted()).toEqual(["parked a1", "queue a2", "queue b1"]);
    });

    test("a plain queue beside it is served too, and keys there change nothing", async () => {
      await publish("a", "a1", "a2", "a3", "a4");
      const keyed = (id: string, key: string) => toQueue("plain", { id, headers: { [FAIR_KEY_HEADER]: key } });
      await first().publish([keyed("x1", "x"), keyed("x2", "x"), keyed("y1", "y")]);
      const mixed = (await takeAs(first(), ["q", "plain"], 7, { fair: FAIR, slots: 2 })).map(idOf);
      expect(mixed.filter((id) => id.startsWith("a"))).toEqual(["a1", "a2", "a3", "a4"]);
      expect(mixed.filter((id) => !id.startsWith("a"))).toEqual(["x1", "x2", "y1"]);
      expect(mixed.slice(0, 4).filter((id) => id.startsWith("a")).length).toBe(2);
    });

    test("settings are listed with keys that have no messages, and refused when they make no sense", async () => {
      await fairness().set("q", "quiet", { weight: 5, limit: 3 });
      await fairness().set("q", undefined, { limit: 9 });
      expect([...(await states()).values()]).toEqual([
        { key: "quiet", waiting: 0, running: 0, weight: 5, limit: 3, paused: undefined, isSet: true },
      ]);
      expect(await fairness().page("q", { limit: 100 })).toMatchObject({ unsorted: 0, defaults: { weight: 1, limit: 9 } });
      await fairness().set("q", "quiet", { weight: 6 });
      expect((await states()).get("quiet")).toMatchObject({ weight: 6, limit: 3 });
      await fairness().set("q", "quiet", { limit: 4 });
      expect((await states()).get("quiet")).toMatchObject({ weight: 6, limit: 4 });
      for (const change of [{ weight: 0 }, { weight: 1.5 }, { limit: 0 }, { limit: Number.NaN }])
        await expect(fairness().set("q", "quiet", change), JSON.stringify(change)).rejects.toThrow(/it takes a whole number/);
      await expect(fairness().set("q", undefined, { paused: { by: "", reason: "", at: 1 } })).rejects.toThrow(/name the key/);
      await expect(fairness().set("q", "a\nb", { weight: 2 })).rejects.toThrow(/a key is a text/);
    });

    test("whatever is published and however it is taken, weights hold in each round and nothing is lost", async () => {
      let run = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.record({ waiting: fc.integer({ min: 1, max: 12 }), weight: fc.integer({ min: 1, max: 4 }) }), {
            minLength: 1,
            maxLength: 6,
          }),
          fc.integer({ min: 1, max: 9 }),
          async (keys, slots) => {
            const queue = `p${run++}`;
            const left = new Map(keys.map(({ waiting }, i) => [`k${i}`, waiting]));
            const total = keys.reduce((sum, { waiting }) => sum + waiting, 0);
            for (const [i, { weight }] of keys.entries()) await fairness().set(queue, `k${i}`, { weight });
            await first().publish(
              keys.flatMap(({ waiting }, i) =>
                Array.from({ length: waiting }, (_, n) => toQueue(queue, { id: `k${i}-${n}`, headers: { [FAIR_KEY_HEADER]: `k${i}` } })),
              ),
            );
            const order = (await takeAs(first(), [queue], total, { fair: new Set([queue]), slots })).map(
              (delivery) => idOf(delivery).split("-")[0],
            );
            let at = 0;
            while (at < order.length) {
              for (const [i, { weight }] of keys.entries()) {
                const gives = Math.min(weight, left.get(`k${i}`) as number);
                expect(order.slice(at, at + gives)).toEqual(Array.from({ length: gives }, () => `k${i}`));
                at += gives;
                left.set(`k${i}`, (left.get(`k${i}`) as number) - gives);
              }
            }
          },
        ),
        { numRuns: 15 },
      );
    });
  });
}
