/** What every broker does that keeps locks of unique tasks. Part of `broker.ts`. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import type { Broker, Delivery, Outgoing, Settlement } from "../../src/brokers/broker.ts";
import type { UniqueAnswer, Uniques, UniqueStep } from "../../src/brokers/uniques.ts";
import { AGGREGATE_HEADER } from "../../src/protocol/aggregate.ts";
import { encodeTaskMessage } from "../../src/protocol/task-message.ts";
import { UNIQUE_HEADER, uniqueText, type UniqueRule } from "../../src/protocol/unique.ts";
import { newId } from "../../src/shared/ids.ts";
import { idOf, take, toQueue } from "../support/broker-hands.ts";
import { eventually } from "../support/eventually.ts";
import type { BrokerStand } from "./scene.ts";

type Keeper = Broker & { readonly uniques: Uniques };

const HOUR = 3_600_000;
const rule = (more: Partial<UniqueRule> = {}): UniqueRule => ({ mode: "done", name: "t:1", ttlMs: HOUR, waitMs: 0, maxWaitMs: 0, ...more });
const unique = (id: string, how: UniqueRule, queue = "q", args = ""): Outgoing => ({
  ...toQueue(queue, { id, headers: { [UNIQUE_HEADER]: uniqueText(how), argsrepr: args } }),
  unique: how,
});
const stepOf = (taskId: string, what: UniqueStep["what"], name = "t:1"): UniqueStep => ({ name, taskId, queue: "q", what });
const FREE = { kind: "free" } as const;
const argsOf = (delivery: Delivery): string => String(delivery.open().message.headers["argsrepr"]);

export function uniquesConformance(stand: () => BrokerStand): void {
  const open = async (): Promise<Keeper> => {
    const broker = await stand().open();
    if (!broker.uniques) throw new Error("this broker keeps no locks");
    return broker as Keeper;
  };
  const settle = async (broker: Broker, delivery: Delivery, settlement: Partial<Settlement> = {}): Promise<void> => {
    const step = stepOf(idOf(delivery), FREE);
    expect(await broker.settle([{ delivery, end: { kind: "ack" }, unique: step, ...settlement }])).toEqual(["settled"]);
  };

  describe("unique tasks", () => {
    test("of many producers that race, one publishes, and the others hear of it", async () => {
      const brokers = [await open(), await open(), await open()];
      const calls = Array.from({ length: 300 }, (_, i) => (brokers[i % 3] as Keeper).uniques.publish(unique(`m${i}`, rule())));
      const answers = await Promise.all(calls);
      const ids = new Set(answers.map(({ id }) => id));
      expect(ids.size).toBe(1);
      expect(answers.filter(({ isDuplicate }) => !isDuplicate)).toHaveLength(1);
      const [broker] = brokers as [Keeper];
      expect((await broker.depth(["q"]))[0]).toMatchObject({ ready: 1 });
      expect(await broker.uniques.list({ limit: 10 })).toMatchObject([{ name: "t:1", mode: "done", taskId: [...ids][0], queue: "q" }]);
    });

    test("only the holder frees, in the step that ends its loan; the same message again is not published twice", async () => {
      const broker = await open();
      expect(await broker.uniques.publish(unique("a", rule()))).toEqual({ id: "a", isDuplicate: false });
      expect(await broker.uniques.publish(unique("a", rule()))).toEqual({ id: "a", isDuplicate: false });
      await broker.uniques.step([stepOf("b", FREE)]);
      expect(await broker.uniques.publish(unique("b", rule()))).toEqual({ id: "a", isDuplicate: true });
      const [held] = (await take(broker, ["q"], 1)) as [Delivery];
      await settle(broker, held, { publish: [toQueue("r", { id: "follows" })] });
      expect(await broker.uniques.list({ limit: 10 })).toEqual([]);
      expect((await broker.depth(["q", "r"])).map(({ ready }) => ready)).toEqual([0, 1]);
      // The loan is gone: nothing of a late settlement is done.
      expect(await broker.uniques.publish(unique("c", rule()))).toEqual({ id: "c", isDuplicate: false });
      expect(await broker.settle([{ delivery: held, end: { kind: "ack" }, unique: stepOf("c", FREE) }])).toEqual(["lost"]);
      expect(await broker.uniques.publish(unique("d", rule()))).toEqual({ id: "c", isDuplicate: true });
    });

    test("a lock that nobody frees ends; one that is kept lasts on; an operator breaks one", async () => {
      const { uniques } = await open();
      await uniques.publish(unique("a", rule({ ttlMs: 1 })));
      await eventually("its end", async () => (await uniques.publish(unique("b", rule({ ttlMs: 1000 })))).id === "b");
      await uniques.step([stepOf("b", { kind: "keep", ttlMs: HOUR })]);
      const [lock] = await uniques.list({ limit: 1 });
      expect((lock?.until ?? 0) - Date.now()).toBeGreaterThan(HOUR / 2);
      expect(await uniques.break("t:1")).toBe("b");
      expect(await uniques.break("t:1")).toBeUndefined();
      expect(await uniques.publish(unique("c", rule()))).toEqual({ id: "c", isDuplicate: false });
    });

    test("what runs without a loan holds its lock as long as its worker has a lease", async () => {
      const broker = await open();
      await broker.leases?.renew("w", 60_000);
      await broker.uniques.publish(unique("a", rule()));
      await broker.uniques.step([stepOf("a", { kind: "own", worker: "w" })]);
      expect(await broker.uniques.publish(unique("b", rule()))).toEqual({ id: "a", isDuplicate: true });
      await broker.leases?.release("w");
      expect(await broker.uniques.publish(unique("b", rule()))).toEqual({ id: "b", isDuplicate: false });
    });

    test("what goes on as another message is no worker's any more: its lock outlives the worker", async () => {
      const broker = await open();
      await broker.leases?.renew("w", 60_000);
      await broker.uniques.publish(unique("a", rule()));
      await broker.uniques.step([stepOf("a", { kind: "own", worker: "w" })]);
      await broker.uniques.step([stepOf("a", { kind: "keep", ttlMs: HOUR })]);
      await broker.leases?.release("w");
      expect(await broker.uniques.publish(unique("b", rule()))).toEqual({ id: "a", isDuplicate: true });
    });

    test("the one that is next is that one still when its publish is repeated", async () => {
      const broker = await open();
      const how = rule({ mode: "last" });
      await broker.uniques.publish(unique("runs", how));
      await take(broker, ["q"], 1);
      for (let times = 0; times < 2; times++)
        expect(await broker.uniques.publish(unique("next", how))).toEqual({ id: "next", isDuplicate: false });
      expect((await broker.depth(["q"]))[0]).toMatchObject({ ready: 0, parked: 1 });
      expect(await broker.uniques.publish(unique("later", how))).toEqual({ id: "next", isDuplicate: true });
    });

    test("a debounced one has its lock for as long as it waits, and its time to live besides", async () => {
      const broker = await open();
      await broker.uniques.publish(unique("a", rule({ mode: "debounce", waitMs: HOUR, ttlMs: HOUR })));
      const [lock] = await broker.uniques.list({ limit: 1 });
      expect((lock?.until ?? 0) - Date.now()).toBeGreaterThan(1.5 * HOUR);
    });

    test("a purge frees the locks of what it discards, and not of what runs", async () => {
      const broker = await open();
      await broker.uniques.publish(unique("runs", rule({ name: "t:runs" })));
      await take(broker, ["q"], 1);
      await broker.uniques.publish(unique("waits", rule({ name: "t:waits" })));
      await broker.uniques.publish(unique("parked", rule({ name: "t:parked", mode: "debounce", waitMs: HOUR })));
      expect(await broker.purge("q")).toBe(2);
      expect((await broker.uniques.list({ limit: 10 })).map(({ taskId }) => taskId)).toEqual(["runs"]);
    });

    test("a purge leaves the locks of what was acknowledged early and runs, and those that are held for a time", async () => {
      const broker = await open();
      await broker.leases?.renew("early", HOUR);
      await broker.uniques.publish(unique("early", rule({ name: "t:early" })));
      await broker.uniques.publish(unique("throttled", rule({ name: "t:throttled", mode: "time" })));
      await broker.uniques.step([stepOf("early", { kind: "own", worker: "early" }, "t:early")]);
      for (const delivery of await take(broker, ["q"], 2)) await broker.settle([{ delivery, end: { kind: "ack" } }]);
      await broker.uniques.publish(unique("waits", rule({ name: "t:waits" })));
      expect(await broker.purge("q")).toBe(1);
      expect((await broker.uniques.list({ limit: 10 })).map(({ taskId }) => taskId).toSorted()).toEqual(["early", "throttled"]);
    });

    test("a purge leaves the locks of calls that run as one, and frees those of calls that wait to", async () => {
      const broker = await open();
      const fold = async (id: string): Promise<void> => {
        await broker.uniques.publish(unique(id, rule({ name: `t:${id}` })));
        const [delivery] = (await take(broker, ["q"], 1)) as [Delivery];
        await broker.aggregates?.fold([{ delivery, group: "g", dueAt: 1 }]);
      };
      await fold("runs");
      const taken = (await broker.aggregates?.first("g", 1)) ?? [];
      const args = taken.map((envelope) => Buffer.from(envelope as string).toString());
      const task = { id: "made", task: "t", args, kwargs: {}, headers: { [AGGREGATE_HEADER]: 1 } };
      const message = encodeTaskMessage(task, { serializer: "json", now: 1 });
      await broker.aggregates?.publish("g", taken, { message, exchange: "", routingKey: "q" });
      await take(broker, ["q"], 1);
      await fold("waits");
      expect(await broker.purge("q")).toBe(1);
      expect((await broker.uniques.list({ limit: 10 })).map(({ taskId }) => taskId)).toEqual(["runs"]);
    });

    test("debounce: the last of the calls waits under the id of the first, no longer than the most wait", async () => {
      const broker = await open();
      const how = rule({ mode: "debounce", waitMs: HOUR });
      expect(await broker.uniques.publish(unique("a", how, "q", "first"))).toEqual({ id: "a", isDuplicate: false });
      expect(await broker.uniques.publish(unique("b", how, "q", "last"))).toEqual({ id: "a", isDuplicate: true });
      expect((await broker.depth(["q"]))[0]).toMatchObject({ ready: 0, parked: 1 });
      expect(await broker.delayed?.unpark()).toMatchObject({ moved: 0 });
      await broker.uniques.publish(unique("c", { ...how, maxWaitMs: 1 }, "q", "most")); // the first came longer ago than that
      await eventually("it is due", async () => (await broker.delayed?.unpark())?.moved === 1);
      const [taken] = (await take(broker, ["q"], 1)) as [Delivery];
      expect([idOf(taken), argsOf(taken)]).toEqual(["a", "most"]);
      expect(await broker.uniques.publish(unique("d", how))).toEqual({ id: "d", isDuplicate: false });
    });

    test("calls, starts and ends in any order: one runs, one waits, and the last arguments are the last to run", async () => {
      const broker = await open();
      const action = fc.constantFrom<("call" | "end" | "due")[]>("call", "call", "call", "end", "due");
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom("last", "debounce", "done" as const),
          fc.array(action, { maxLength: 12 }),
          async (mode, actions) => {
            const how = rule({ mode, name: `t:${newId()}`, waitMs: HOUR });
            const model = new Model(mode);
            for (const each of actions) {
              if (each === "call") {
                const id = newId();
                expect(await broker.uniques.publish(unique(id, how, "q", `args ${id}`))).toEqual(model.call(id));
              } else if (each === "due" && mode === "debounce") {
                await broker.delayed?.flush("q");
                model.due();
              } else if (each === "end" && model.ready.length > 0) {
                const [taken] = (await take(broker, ["q"], 1)) as [Delivery];
                expect([idOf(taken), argsOf(taken)]).toEqual(model.end());
                await settle(broker, taken, { unique: stepOf(idOf(taken), FREE, how.name) });
              }
            }
            const [depth] = await broker.depth(["q"]);
            expect([depth?.ready, depth?.parked]).toEqual([model.ready.length, model.waiting === undefined ? 0 : 1]);
            await broker.purge("q");
            expect(await broker.uniques.list({ limit: 10 })).toEqual([]);
          },
        ),
        { numRuns: 25, endOnFailure: true },
      );
    });
  });
}

/** Id and arguments of what is ready, and of what waits under the lock. */
class Model {
  readonly #mode: UniqueRule["mode"];
  ready: (readonly [string, string])[] = [];
  waiting: readonly [string, string] | undefined;

  constructor(mode: UniqueRule["mode"]) {
    this.#mode = mode;
  }

  call(id: string): UniqueAnswer {
    const [holder] = this.ready;
    const isHeld = holder !== undefined && this.#mode !== "debounce";
    if (isHeld && this.#mode === "done") return { id: holder[0], isDuplicate: true };
    if (!isHeld && this.#mode !== "debounce") this.ready.push([id, `args ${id}`]);
    else if (this.waiting === undefined) this.waiting = [id, `args ${id}`];
    else {
      this.waiting = [this.waiting[0], `args ${id}`];
      return { id: this.waiting[0], isDuplicate: true };
    }
    return { id, isDuplicate: false };
  }

  due(): void {
    if (this.waiting !== undefined) this.ready.unshift(this.waiting); // what was parked returns to the front
    this.waiting = undefined;
  }

  end(): readonly [string, string] {
    const [ended] = this.ready.splice(0, 1) as [readonly [string, string]];
    if (this.#mode === "last") this.due();
    return ended;
  }
}
