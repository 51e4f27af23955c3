/** What a broker does for batches and for those who look for tasks: callbacks published once, messages found. Run by broker.ts. */
import { describe, expect, test } from "vitest";
import type { Broker, FoundMessage } from "../../src/brokers/broker.ts";
import { decodeEnvelope } from "../../src/protocol/envelope.ts";
import type { Batches } from "../../src/results/batches.ts";
import type { ResultBackend } from "../../src/results/result-backend.ts";
import { idOf, settleAll, take, toQueue } from "../support/broker-hands.ts";

export function dueAndSearchConformance(
  given: () => { readonly broker: Broker; openBackend(): Promise<ResultBackend>; open(): Promise<Broker> },
): void {
  describe("callbacks of batches", () => {
    test("what is due is published once, whoever tries, together with removing the record", async () => {
      const { broker, openBackend, open } = given();
      const backend = await openBackend();
      const batches = backend.batches as Batches;
      await batches.begin({ id: "b", document: "{}", callbacks: ["complete"], parentId: undefined, expiresMs: 60_000 });
      await batches.seal("b");
      const due = { id: "b", event: "complete" } as const;
      const options = { backend, home: "home", signal: new AbortController().signal };
      const messages = [
        toQueue("q", { id: "called" }),
        { ...toQueue("q", { id: "stray" }), exchange: "nothing.is.bound", routingKey: "x" },
      ];
      const tries = [broker, await open(), broker].map(async (each) => await each.dueCallbacks?.publish(due, messages, options));
      expect((await Promise.all(tries)).filter((isPublished) => isPublished === true)).toHaveLength(1);
      expect(await broker.dueCallbacks?.publish(due, messages, options)).toBe(false);
      expect(await batches.due({ limit: 10, minAgeMs: 0 })).toEqual([]);
      expect((await take(broker, ["q"], 1)).map(idOf)).toEqual(["called"]);
      expect((await take(broker, ["home"], 1)).map(idOf)).toEqual(["stray"]);
      expect((await broker.depth(["q", "home"])).map(({ ready }) => ready)).toEqual([0, 0]);
    });
  });

  describe("looking for messages", () => {
    const found = async (broker: Broker, limit = 1000): Promise<string[]> => {
      const all: FoundMessage[] = [];
      for await (const page of broker.search?.messages({ queues: ["q", "r"], limit }) ?? []) all.push(...page);
      return all
        .map(({ at, raw }) => `${String(decodeEnvelope(raw).message.headers["id"])} ${Object.values(at).slice(0, 2).join(" ")}`)
        .toSorted();
    };

    test("they are found where they wait, where they are parked and where they are worked on, and stay there", async () => {
      const { broker } = given();
      await broker.leases?.renew("one", 60_000);
      await broker.publish([toQueue("q", { id: "lent" }), toQueue("q", { id: "later" })]);
      const [lent, later] = await take(broker, ["q"], 2);
      if (lent === undefined || later === undefined) throw new Error("two were taken");
      await settleAll(broker, [later], { kind: "park", dueAt: Date.now() + 3_600_000 });
      await broker.publish([toQueue("q", { id: "waits" }), toQueue("r", { id: "last", priority: 9 }), toQueue("s", { id: "elsewhere" })]);
      const expected = ["last queue r", "later parked q", "lent loan one", "waits queue q"];
      expect(await found(broker)).toEqual(expected);
      expect(await found(broker)).toEqual(expected);
      await settleAll(broker, [lent]);
      expect(await found(broker)).toEqual(expected.filter((line) => !line.startsWith("lent")));
    });

    test("many, in pages, no more than asked for", async () => {
      const { broker } = given();
      await broker.publish(Array.from({ length: 1200 }, (_, i) => toQueue("q", { id: `m${i}` })));
      expect(new Set(await found(broker, 5000)).size).toBe(1200);
      expect(await found(broker, 700)).toHaveLength(700);
    });
  });
}
