/** What every broker that keeps groups of messages does with them. */
import fc from "fast-check";
import { expect, test } from "vitest";

import type { Aggregates } from "../../src/brokers/aggregates.ts";
import type { Broker, Delivery } from "../../src/brokers/broker.ts";
import { decodeEnvelope } from "../../src/protocol/envelope.ts";
import { idOf, settleAll, take, toQueue } from "../support/broker-hands.ts";

export interface AggregateHands {
  broker(): Broker;
  open(): Promise<Broker>;
  sweepAway(worker: string, sweeper: Broker): Promise<unknown>;
  readonly leaseMs: number;
}

const NOW = 1_700_000_000_000;
const byText = (a: string, b: string): number => (a < b ? -1 : 1);

export function aggregatesConformance({ broker, open, sweepAway, leaseMs }: AggregateHands): void {
  const groups = (of = broker()): Aggregates => of.aggregates as Aggregates;
  const lend = async (ids: readonly string[], worker = "one"): Promise<readonly Delivery[]> => {
    await broker().publish(ids.map((id) => toQueue("q", { id })));
    await broker().leases?.renew(worker, leaseMs);
    return await take(broker(), ["q"], ids.length, { worker });
  };
  const fold = async (deliveries: readonly Delivery[], group = "g", dueAt = NOW): Promise<readonly (number | "lost")[]> =>
    await groups().fold(deliveries.map((delivery) => ({ delivery, group, dueAt })));
  const ids = (envelopes: readonly (string | Uint8Array)[]): unknown[] =>
    envelopes.map((each) => decodeEnvelope(each).message.headers["id"]);
  const ready = async (): Promise<number> => (await broker().depth(["q"]))[0]?.ready ?? Number.NaN;

  test("what is folded is in its group, in order, and nowhere else", async () => {
    const [a, b, c] = await lend(["a", "b", "c"]);
    expect(await fold([a as Delivery, b as Delivery])).toEqual([1, 2]);
    expect(await fold([c as Delivery])).toEqual([3]);
    expect(ids(await groups().first("g", 10))).toEqual(["a", "b", "c"]);
    expect(ids(await groups().first("g", 2))).toEqual(["a", "b"]);
    expect(await groups().first("other", 2)).toEqual([]);
    expect(await broker().depth(["q"])).toMatchObject([{ ready: 0, parked: 3, dead: 0 }]);
    expect(await settleAll(broker(), [a as Delivery])).toEqual(["lost"]);
    expect(await fold([a as Delivery])).toEqual(["lost"]);
    await broker().leases?.release("one");
    expect(await ready()).toBe(0);
  });

  test("a group is due when its first message says, and is none any more once it is empty", async () => {
    const [a, b, c] = await lend(["a", "b", "c"]);
    await fold([a as Delivery], "late", NOW + 5000);
    await fold([b as Delivery], "early", NOW + 1000);
    await fold([c as Delivery], "early", NOW + 9000);
    expect(await groups().due(NOW, 10)).toEqual({ groups: [], nextDueAt: NOW + 1000 });
    expect(await groups().due(NOW + 1000, 10)).toMatchObject({ groups: ["early"] });
    expect((await groups().due(NOW + 6000, 10)).groups).toEqual(["early", "late"]);
    expect((await groups().due(NOW + 6000, 1)).groups).toEqual(["early"]);
    const first = await groups().first("early", 10);
    expect(await groups().publish("early", first, toQueue("q", { id: "both" }))).toBe(true);
    expect((await groups().due(NOW + 20_000, 10)).groups).toEqual(["late"]);
  });

  test("two that publish a group do it once, and what came meanwhile stays", async () => {
    const [a, b, c] = await lend(["a", "b", "c"]);
    await fold([a as Delivery, b as Delivery]);
    const other = await open();
    const first = await groups(other).first("g", 10);
    await fold([c as Delivery]);
    const told = await Promise.all([groups(), groups(other)].map((each) => each.publish("g", first, toQueue("q", { id: "ab" }))));
    expect(told.filter(Boolean)).toHaveLength(1);
    expect(ids(await groups().first("g", 10))).toEqual(["c"]);
    const [delivery] = await take(broker(), ["q"], 1, { worker: "two" });
    expect(idOf(delivery as Delivery)).toBe("ab");
    expect(await ready()).toBe(0);
  });

  test("what waits in groups counts as parked in its queue, is found there, and is purged with it", async () => {
    const [a, b, c, d] = await lend(["a", "b", "c", "d"]);
    await fold([a as Delivery, b as Delivery, c as Delivery], "full");
    await fold([d as Delivery], "other", NOW + 5000);
    await broker().publish([toQueue("r", { id: "r" }), toQueue("q", { id: "ready" })]);
    await broker().leases?.renew("two", leaseMs);
    const [r] = await take(broker(), ["r"], 1, { worker: "two" });
    await fold([r as Delivery], "of r");
    const parked = async (): Promise<readonly number[]> => (await broker().depth(["q", "r"])).map((depth) => depth.parked);
    const found = async (): Promise<readonly string[]> => {
      const lines: string[] = [];
      for await (const page of broker().search?.messages({ queues: ["q"], limit: 100 }) ?? [])
        for (const { at, raw } of page) lines.push(`${String(ids([raw])[0])} ${Object.values(at).join(" ")}`);
      return lines.toSorted(byText);
    };
    expect(await parked()).toEqual([4, 1]);
    expect(await found()).toEqual([
      `a parked q ${NOW}`, `b parked q ${NOW}`, `c parked q ${NOW}`, `d parked q ${NOW + 5000}`, "ready queue q",
    ]); // prettier-ignore
    expect(await groups().publish("full", await groups().first("full", 2), toQueue("q", { id: "ab" }))).toBe(true);
    expect(await parked()).toEqual([2, 1]);
    const left = await groups().first("full", 10);
    expect(await broker().purge("q")).toBe(4); // c and d, and what is ready
    expect(await parked()).toEqual([0, 1]);
    expect(await found()).toEqual([]);
    expect(await groups().publish("full", left, toQueue("q", { id: "late" }))).toBe(false);
    expect(await groups().due(NOW + 9000, 10)).toMatchObject({ groups: ["of r"] });
    const [e] = await lend(["e"], "three");
    expect(await fold([e as Delivery], "full")).toEqual([1]);
    expect(await parked()).toEqual([1, 1]);
    expect(await groups().publish("full", await groups().first("full", 9), toQueue("q", { id: "e" }))).toBe(true);
    expect(await parked()).toEqual([0, 1]);
  });

  test("what another worker was given meanwhile is not folded", async () => {
    const [delivery] = await lend(["a"]);
    const other = await open();
    await sweepAway("one", other);
    expect(await fold([delivery as Delivery])).toEqual(["lost"]);
    expect(await groups().first("g", 10)).toEqual([]);
    expect(await ready()).toBe(1);
  });

  test("whatever is folded, published and repeated, each message comes out once", async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ size: fc.integer({ min: 1, max: 4 }), group: fc.nat(2), takes: fc.integer({ min: 1, max: 5 }) }), {
          maxLength: 6,
        }),
        async (moves) => {
          run += 1;
          const out: unknown[] = [];
          const given: string[] = [];
          for (const [at, { size, group, takes }] of moves.entries()) {
            const names = Array.from({ length: size }, (_, i) => `${run}.${at}.${i}`);
            given.push(...names);
            const name = `${run}:${group}`;
            await fold(await lend(names), name);
            const first = await groups().first(name, takes);
            for (let twice = 0; twice < 2; twice++)
              if (await groups().publish(name, first, toQueue("q", { id: "x" }))) {
                out.push(...ids(first));
                await settleAll(broker(), await take(broker(), ["q"], 1));
              }
            expect(await broker().depth(["q"])).toMatchObject([{ ready: 0, parked: given.length - out.length }]);
          }
          const waiting = given.length - out.length;
          for (const group of [0, 1, 2]) out.push(...ids(await groups().first(`${run}:${group}`, 100)));
          expect(out.map(String).toSorted(byText)).toEqual(given.toSorted(byText));
          expect(await broker().purge("q")).toBe(waiting);
        },
      ),
      { numRuns: 10 },
    );
  });
}
