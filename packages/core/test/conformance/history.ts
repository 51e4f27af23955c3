/** Whatever is done with messages, each is in one place. Part of `broker.ts`. */
import fc from "fast-check";
import { beforeEach, expect, test } from "vitest";
import type { Broker, Delivery, LoanEnd } from "../../src/brokers/broker.ts";
import { idOf, settleAll, take, toQueue } from "../support/broker-hands.ts";
import { type BrokerStand, deadRecord, type Scene } from "./scene.ts";

export function historyConformance(scene: () => Scene): void {
  let broker: Broker;
  let stand: BrokerStand;
  beforeEach(() => void ({ broker, stand } = scene()));

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
}
