/** What every broker does that keeps limits for all workers. Part of `broker.ts`. Times are real and short. */
import { describe, expect, test } from "vitest";

import type { Broker, Delivery, FoundMessage } from "../../src/brokers/broker.ts";
import type { Admission, AdmissionRequest, Limits, LimitSpec } from "../../src/brokers/limits.ts";
import { decodeEnvelope } from "../../src/protocol/envelope.ts";
import { eventually } from "../support/eventually.ts";
import { idOf, settleAll, take, toQueue } from "../support/broker-hands.ts";
import type { BrokerStand } from "./scene.ts";

const LEASE_MS = 300;
const SWEEPING = { maxDeliveries: 3, leaseMs: LEASE_MS, visibilityTimeoutMs: 3_600_000 };

export function limitsConformance(stand: () => BrokerStand): void {
  const limitsOf = (broker: Broker): Limits => {
    if (!broker.limits) throw new Error("this broker keeps no limits");
    return broker.limits;
  };
  const setUp = async (specs: Readonly<Record<string, LimitSpec>>): Promise<{ broker: Broker; limits: Limits }> => {
    const broker = await stand().open();
    const limits = limitsOf(broker);
    await limits.declare(new Map(Object.entries(specs)));
    return { broker, limits };
  };
  const publish = async (broker: Broker, queue: string, ids: readonly string[]): Promise<void> =>
    await broker.publish(ids.map((id) => toQueue(queue, { id })));
  const numbered = (count: number, name = "m"): string[] => Array.from({ length: count }, (_, i) => `${name}${i}`);
  const asking = (deliveries: readonly Delivery[], limits: readonly string[]): AdmissionRequest[] =>
    deliveries.map((delivery) => ({ delivery, id: idOf(delivery), limits }));
  const kinds = (answers: readonly Admission[]): string[] => answers.map(({ kind }) => kind);
  const depth = async (broker: Broker, queue = "q") => (await broker.depth([queue]))[0];

  describe("limits", () => {
    test("a burst starts at once, the others wait in the broker and have their turn in order", async () => {
      const { broker, limits } = await setUp({ r: { intervalMs: 400, burst: 2 } });
      await publish(broker, "q", numbered(4));
      const { answers, nextTurnInMs } = await limits.admit("one", asking(await take(broker, ["q"], 4), ["r"]));
      expect(answers).toEqual([
        { kind: "admitted", startsInMs: 0, isHeld: false },
        { kind: "admitted", startsInMs: 0, isHeld: false },
        { kind: "waits" },
        { kind: "waits" },
      ]);
      expect(nextTurnInMs).toBeGreaterThan(200);
      expect(await depth(broker)).toMatchObject({ ready: 0, parked: 2 });
      expect(await limits.advance("one", { queues: ["q"], want: 10 })).toMatchObject({ moved: 0 });
      for (const id of ["m2", "m3"]) {
        await eventually(`the turn of ${id}`, async () => (await limits.advance("one", { queues: ["q"], want: 10 })).moved === 1);
        const [delivery] = await take(broker, ["q"], 1);
        expect(idOf(delivery as Delivery)).toBe(id);
        const [answer] = (await limits.admit("one", asking([delivery as Delivery], ["r"]))).answers;
        expect(answer).toMatchObject({ kind: "admitted", isHeld: false });
        await settleAll(broker, [delivery as Delivery]);
      }
      expect(await limits.advance("one", { queues: ["q"], want: 10 })).toEqual({ moved: 0, nextTurnInMs: undefined });
    });

    test("whoever looks for messages finds those that wait, and under which limit", async () => {
      const { broker, limits } = await setUp({ r: { intervalMs: 3_600_000, burst: 1 }, k: { intervalMs: 3_600_000, burst: 1 } });
      const ids = numbered(700, "€");
      await publish(broker, "q", ids);
      const [first, ...others] = await take(broker, ["q"], ids.length, { slots: ids.length });
      await limits.admit("one", [
        ...asking([first as Delivery], ["r", "k\tx"]),
        ...asking(others.slice(0, 10), ["k\tx"]),
        ...asking(others.slice(10), ["r"]),
      ]);
      const found: FoundMessage[] = [];
      for await (const page of broker.search?.messages({ queues: ["p", "q"], limit: 5000 }) ?? []) found.push(...page);
      const idIn = ({ raw }: FoundMessage): string => String(decodeEnvelope(raw).message.headers["id"]);
      expect(found.map(idIn).toSorted()).toEqual(ids.toSorted());
      const held = found.filter(({ at }) => at.kind === "held");
      expect(held).toHaveLength(ids.length - 1);
      expect(held.filter(({ at }) => at.kind === "held" && at.limit === "k\tx").map(idIn)).toHaveLength(10);
      expect(held[0]?.at).toEqual({ kind: "held", queue: "q", limit: "k\tx" });
    });

    test("so many at once: a place that is given back goes to who waits longest, and to nobody who came later", async () => {
      const { broker, limits } = await setUp({ c: { burst: 1, concurrency: 2 } });
      await publish(broker, "q", numbered(4));
      const first = await take(broker, ["q"], 4);
      expect((await limits.admit("one", asking(first, ["c"]))).answers).toEqual([
        { kind: "admitted", startsInMs: 0, isHeld: true },
        { kind: "admitted", startsInMs: 0, isHeld: true },
        { kind: "waits" },
        { kind: "waits" },
      ]);
      expect(await limits.release("one", [first[0] as Delivery], { queues: ["q"], want: 1 })).toMatchObject({ moved: 1 });
      await limits.release("one", [first[0] as Delivery], { queues: ["q"], want: 1 }); // told twice
      await publish(broker, "q", ["late"]);
      const [next, late] = await take(broker, ["q"], 2);
      expect(idOf(next as Delivery)).toBe("m2");
      expect(kinds((await limits.admit("one", asking([late as Delivery, next as Delivery], ["c"]))).answers)).toEqual([
        "waits",
        "admitted",
      ]);
      expect(await limits.states(10)).toEqual([
        {
          id: "c",
          spec: { intervalMs: undefined, burst: 1, concurrency: 2 },
          isSetByHand: false,
          waiting: 2,
          running: 2,
          nextStartInMs: 0,
        },
      ]);
      await limits.release("one", [first[1] as Delivery, next as Delivery], { queues: ["q"], want: 9 });
      expect((await take(broker, ["q"], 2)).map(idOf)).toEqual(["m3", "late"]);
    });

    test("who comes later waits behind those that wait, although the limit would let it start by now", async () => {
      const { broker, limits } = await setUp({ r: { intervalMs: 300, burst: 1 } });
      await publish(broker, "q", numbered(2));
      expect(kinds((await limits.admit("one", asking(await take(broker, ["q"], 2), ["r"]))).answers)).toEqual(["admitted", "waits"]);
      const due = performance.now() + 300;
      await publish(broker, "q", ["late"]);
      const late = asking(await take(broker, ["q"], 1), ["r"]);
      await eventually("the limit has room", () => performance.now() > due + 50);
      expect(kinds((await limits.admit("one", late)).answers)).toEqual(["waits"]);
      expect(await limits.advance("one", { queues: ["q"], want: 1 })).toMatchObject({ moved: 1 });
      expect((await take(broker, ["q"], 1)).map(idOf)).toEqual(["m1"]);
    });

    test("keys are counted apart, and under several limits all must have room", async () => {
      const { broker, limits } = await setUp({ k: { intervalMs: 60_000, burst: 1 }, all: { intervalMs: 60_000, burst: 3 } });
      await publish(broker, "q", ["a1", "a2", "b1", "c1", "d1"]);
      const deliveries = await take(broker, ["q"], 5);
      const requests = deliveries.map((delivery) => {
        const id = idOf(delivery);
        return { delivery, id, limits: [`k\t${id[0]}`, "all"] };
      });
      expect(kinds((await limits.admit("one", requests)).answers)).toEqual(["admitted", "waits", "admitted", "admitted", "waits"]);
      const states = await limits.states(10);
      expect(new Map(states.map(({ id, waiting }) => [id, waiting]))).toEqual(
        new Map([
          ["k", 0],
          ["all", 1],
          ["k\ta", 1],
        ]),
      );
      await limits.set("k\ta", null);
      await limits.set("all", { intervalMs: 1, burst: 1 });
      await limits.recheck(["k", "all"]);
      await eventually("both turns", async () => {
        await limits.advance("one", { queues: ["q"], want: 10 });
        return (await depth(broker))?.ready === 2;
      });
    });

    test("what is set by hand is seen by every process, wins over the code, and can be undone", async () => {
      const { limits } = await setUp({ r: { intervalMs: 1000, burst: 1 } });
      const other = limitsOf(await stand().open());
      await other.set("r", { intervalMs: 500, burst: 4, concurrency: 7 });
      await other.set("r\tbig", { burst: 1, concurrency: 0 });
      await limits.declare(new Map([["r", { intervalMs: 2000, burst: 1 }]]));
      const table = await limits.table();
      expect(table.declared).toEqual(new Map([["r", { intervalMs: 2000, burst: 1 }]]));
      expect(table.set).toEqual(
        new Map([
          ["r", { intervalMs: 500, burst: 4, concurrency: 7 }],
          ["r\tbig", { intervalMs: undefined, burst: 1, concurrency: 0 }],
        ]),
      );
      await limits.set("r", undefined);
      await limits.set("r\tbig", null);
      expect((await other.table()).set).toEqual(new Map([["r\tbig", null]]));
    });

    test("a limit that is held back starts nothing until then, whatever it allows", async () => {
      const { broker, limits } = await setUp({ h: { burst: 1 } });
      await limits.holdBack(["h\ta"], 700);
      await publish(broker, "q", ["a", "b"]);
      const [a, b] = await take(broker, ["q"], 2);
      const { answers } = await limits.admit("one", [...asking([a as Delivery], ["h\ta"]), ...asking([b as Delivery], ["h\tb"])]);
      expect(kinds(answers)).toEqual(["waits", "admitted"]);
      expect((await limits.advance("one", { queues: ["q"], want: 1 })).moved).toBe(0);
      const since = performance.now();
      await eventually("its turn", async () => (await limits.advance("one", { queues: ["q"], want: 1 })).moved === 1);
      expect(performance.now() - since).toBeGreaterThan(300);
    });

    test("what is expired has its turn at once and takes no start", async () => {
      const { broker, limits } = await setUp({ r: { intervalMs: 60_000, burst: 1 } });
      await publish(broker, "q", ["a", "old", "b"]);
      const deliveries = await take(broker, ["q"], 3);
      const requests = asking(deliveries, ["r"]).map((each) => (each.id === "old" ? { ...each, expiresAt: Date.now() - 1 } : each));
      await limits.admit("one", requests);
      await limits.recheck(["r"]);
      expect((await limits.advance("one", { queues: ["q"], want: 5 })).moved).toBe(1);
      expect((await take(broker, ["q"], 1)).map(idOf)).toEqual(["old"]);
    });

    test("a start that is given up goes to the next", async () => {
      const { broker, limits } = await setUp({ r: { intervalMs: 60_000, burst: 1 }, c: { burst: 1, concurrency: 1 } });
      await publish(broker, "q", ["a", "b", "c"]);
      const deliveries = await take(broker, ["q"], 3);
      await limits.admit("one", asking(deliveries, ["c"]));
      await limits.release("one", [deliveries[0] as Delivery], { queues: ["q"], want: 1 }); // b has its turn
      const [b] = await take(broker, ["q"], 1);
      expect(idOf(b as Delivery)).toBe("b");
      const turns = await limits.giveUp("one", [{ id: "b", limits: ["c"] }], { queues: ["q"], want: 1 });
      expect(turns.moved).toBe(1);
      expect((await take(broker, ["q"], 1)).map(idOf)).toEqual(["c"]);
    });

    test("purge and flush see what waits", async () => {
      const { broker, limits } = await setUp({ n: { burst: 1, concurrency: 0 } });
      await publish(broker, "q", numbered(5));
      await limits.admit("one", asking(await take(broker, ["q"], 5), ["n"]));
      await publish(broker, "other", ["x"]);
      await limits.admit("one", asking(await take(broker, ["other"], 1), ["n"]));
      expect(await broker.purge("q")).toBe(5);
      await limits.set("n", { burst: 1, concurrency: 1 }); // nobody is before those that come now
      await publish(broker, "q", ["new"]);
      const [now] = await take(broker, ["q"], 1);
      expect(kinds((await limits.admit("one", asking([now as Delivery], ["n"]))).answers)).toEqual(["admitted"]);
      expect(await depth(broker)).toMatchObject({ ready: 0, parked: 0 });
      expect(await broker.delayed?.flush()).toBe(1);
      expect(await depth(broker, "other")).toMatchObject({ ready: 1, parked: 0 });
      expect(await broker.delayed?.flush("other")).toBe(0);
    });

    test("a loan that was lost is neither admitted to wait nor kept twice", async () => {
      const { broker, limits } = await setUp({ n: { burst: 1, concurrency: 0 } });
      await publish(broker, "q", ["a"]);
      const deliveries = await take(broker, ["q"], 1);
      await settleAll(broker, deliveries);
      expect((await limits.admit("one", asking(deliveries, ["n"]))).answers).toEqual([{ kind: "lost" }]);
      expect(await depth(broker)).toMatchObject({ ready: 0, parked: 0 });
    });

    test("the places of a worker that died go to others once its lease is swept, and its message comes back", async () => {
      const { broker, limits } = await setUp({ c: { burst: 1, concurrency: 1 } });
      const other = await stand().open();
      await broker.leases?.renew("dead", LEASE_MS);
      await other.leases?.renew("alive", 60_000);
      await publish(broker, "q", ["a", "b"]);
      await limits.admit("dead", asking(await take(broker, ["q"], 2, { worker: "dead" }), ["c"]));
      expect((await limitsOf(other).advance("alive", { queues: ["q"], want: 5 })).moved).toBe(0);
      await eventually("the sweep", async () => {
        await other.leases?.renew("alive", 60_000);
        return (await other.leases?.sweep(SWEEPING))?.workers.includes("dead");
      });
      await eventually("the turn of b", async () => {
        await limitsOf(other).advance("alive", { queues: ["q"], want: 5 });
        return (await depth(other))?.ready === 2;
      });
      const taken = await take(other, ["q"], 2, { worker: "alive" });
      expect(taken.map(idOf)).toEqual(["b", "a"]);
      expect(kinds((await limitsOf(other).admit("alive", asking(taken, ["c"]))).answers)).toEqual(["admitted", "waits"]);
    });
  });
}
