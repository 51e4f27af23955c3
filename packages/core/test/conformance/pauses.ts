/** What every broker does that remembers paused queues, and its consumers. Part of `broker.ts`. */
import { describe, expect, test } from "vitest";

import type { Broker, Delivery } from "../../src/brokers/broker.ts";
import type { PausedQueues, QueuePause, QueuePauses } from "../../src/brokers/queue-pauses.ts";
import { idOf, settleAll, Slots, take, toQueue } from "../support/broker-hands.ts";
import { eventually } from "../support/eventually.ts";
import type { BrokerStand } from "./scene.ts";

const pause = (queue: string, more: Partial<QueuePause> = {}): QueuePause => ({
  queue,
  reason: "the provider is down",
  by: "ann@host",
  at: 1_700_000_000_000,
  until: undefined,
  ...more,
});

/** A worker's knowledge, set by hand. */
class Told implements PausedQueues {
  readonly #queues = new Set<string>();
  readonly #listeners = new Set<() => void>();
  get isAny(): boolean {
    return this.#queues.size > 0;
  }
  has(queue: string): boolean {
    return this.#queues.has(queue);
  }
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  pause(...queues: readonly string[]): void {
    for (const queue of queues) this.#queues.add(queue);
    for (const listener of this.#listeners) listener();
  }
  resume(...queues: readonly string[]): void {
    for (const queue of queues) this.#queues.delete(queue);
    for (const listener of this.#listeners) listener();
  }
}

/** Takes what comes, with ten slots, until its end. */
function consuming(broker: Broker, queues: readonly string[], paused: PausedQueues) {
  const slots = new Slots(10);
  const stop = new AbortController();
  const got: Delivery[] = [];
  const ended = (async () => {
    for await (const batch of broker.consume(queues, { worker: "one", credit: slots, signal: stop.signal, paused })) {
      slots.take(batch.length);
      got.push(...batch);
    }
  })();
  const end = async (): Promise<void> => {
    stop.abort();
    await ended;
  };
  return { slots, got, end };
}

export function pausesConformance(stand: () => BrokerStand): void {
  const open = async (): Promise<Broker & { pauses: QueuePauses }> => {
    const broker = await stand().open();
    if (!broker.pauses) throw new Error("this broker remembers no pauses");
    return broker as Broker & { pauses: QueuePauses };
  };

  describe("pauses", () => {
    test("are seen by every process with who, why and when, until the queue is resumed", async () => {
      const [one, other] = [await open(), await open()];
      expect(await other.pauses.list()).toEqual([]);
      await one.pauses.pause([pause("mail"), pause('a"b é', { reason: "", by: "job" })]);
      expect(await other.pauses.list()).toEqual([pause('a"b é', { reason: "", by: "job" }), pause("mail")]);
      await other.pauses.pause([pause("mail", { reason: "two\nlines", at: 1_700_000_000_001 })]);
      expect(await one.pauses.list()).toContainEqual(pause("mail", { reason: "two\nlines", at: 1_700_000_000_001 }));
      expect(await one.pauses.resume(["mail", "never"])).toEqual(["mail"]);
      expect(await one.pauses.resume(["mail"])).toEqual([]);
      expect((await other.pauses.list()).map(({ queue }) => queue)).toEqual(['a"b é']);
    });

    test("end by themselves", async () => {
      const { pauses } = await open();
      await pauses.pause([
        pause("past", { until: Date.now() - 1 }),
        pause("soon", { until: Date.now() + 600 }),
        pause("far", { until: Date.now() + 3_600_000 }),
      ]);
      expect((await pauses.list()).map(({ queue }) => queue)).toEqual(["far", "soon"]);
      await eventually("it is over", async () => (await pauses.list()).length === 1);
    });

    test("whoever watches is told of a change by another process", async () => {
      const [one, other] = [await open(), await open()];
      const done = new AbortController();
      let told = 0;
      one.pauses.watch(done.signal, () => (told += 1));
      const names = async (): Promise<string[]> => (told === 0 ? [] : (await one.pauses.list()).map(({ queue }) => queue));
      await other.pauses.pause([pause("mail")]);
      await eventually("it is told", async () => (await names()).length === 1);
      told = 0;
      await other.pauses.resume(["mail"]);
      await eventually("the end is told", () => told > 0);
      done.abort();
    });

    test("a paused queue gives nothing and takes on; the others give on", async () => {
      const broker = await open();
      const paused = new Told();
      paused.pause("held");
      await broker.publish([toQueue("held", { id: "h1" }), toQueue("free", { id: "f1" })]);
      const { got, end } = consuming(broker, ["held", "free"], paused);
      await eventually("the free one", () => got.length === 1);
      // The worker waits for messages now: what comes for the paused queue must not wake it.
      const producer = await stand().open();
      await producer.publish([toQueue("held", { id: "h2" }), toQueue("free", { id: "f2" })]);
      await eventually("the next free one", () => got.length === 2);
      expect(got.map(idOf)).toEqual(["f1", "f2"]);
      expect(await broker.depth(["held"])).toMatchObject([{ ready: 2 }]);
      paused.resume("held");
      await eventually("the others", () => got.length === 4);
      expect(got.slice(2).map(idOf)).toEqual(["h1", "h2"]);
      await end();
      await settleAll(broker, got);
    });

    test("a wait that is under way takes nothing from a queue that is paused meanwhile, or gives it back as it was", async () => {
      const broker = await open();
      const paused = new Told();
      const { slots, got, end } = consuming(broker, ["held", "free"], paused);
      await broker.publish([toQueue("held", { id: "first" })]);
      await eventually("it is taken", () => got.length === 1); // and so it waits, or will at once
      const producer = await stand().open();
      for (let round = 0; round < 20; round++) {
        paused.pause("held");
        await producer.publish([toQueue("held", { id: `h${round}` }), toQueue("free", { id: `f${round}` })]);
        await eventually("the free one", () => got.some((delivery) => idOf(delivery) === `f${round}`));
        await settleAll(broker, got.splice(0));
        slots.give(10 - slots.free());
        await eventually("all of the held are ready", async () => (await producer.depth(["held"]))[0]?.ready === 1);
        paused.resume("held");
        await eventually("it is taken", () => got.length === 1);
        expect(idOf(got[0] as Delivery)).toBe(`h${round}`);
        expect(got[0]?.losses).toBe(0);
        expect(got[0]?.open().info.redelivered).toBe(false);
        await settleAll(broker, got.splice(0));
        slots.give(10 - slots.free());
      }
      await end();
    }, 30_000);

    test("every queue paused: nothing is taken, and the consumer lives", async () => {
      const broker = await open();
      const paused = new Told();
      paused.pause("a", "b");
      await broker.publish([toQueue("a", { id: "1" }), toQueue("b", { id: "2" })]);
      const stop = new AbortController();
      const got: Delivery[] = [];
      let answers = 0;
      const events = { alive: () => ++answers === 1 && stop.abort() };
      const options = { worker: "one", credit: new Slots(5), signal: stop.signal, paused, events };
      for await (const batch of broker.consume(["a", "b"], options)) got.push(...batch);
      expect(answers).toBeGreaterThan(0);
      expect(got).toEqual([]);
      expect((await take(broker, ["a", "b"], 2)).map(idOf).toSorted()).toEqual(["1", "2"]);
    });
  });
}
