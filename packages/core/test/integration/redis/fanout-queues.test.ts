/** Queues on a fanout exchange (Celery's Broadcast): every worker present gets a copy, nothing is stored, no loan is made. */
import { Redis } from "ioredis";
import { expect, test } from "vitest";

import type { Broker, Delivery, QueueSpec } from "../../../src/brokers/broker.ts";
import { idOf, makeMessage, settleAll, Slots, toQueue } from "../../support/broker-hands.ts";
import { eventually } from "../../support/eventually.ts";
import { openBackend, openBroker } from "../../support/redis-brokers.ts";
import { RedisServer } from "../../support/redis-server.ts";

const fanout = (name: string): QueueSpec => ({ name, exchange: "everybody", exchangeType: "fanout", routingKey: "" });

test("each worker gets a copy beside its other messages, and its results and follow-ups are kept", async () => {
  await using server = await RedisServer.start();
  const hand = new Redis(server.url);
  await using backend = await openBackend(server.url);
  await using producer = await openBroker(server.url);
  await producer.bind([fanout("producer-copy")]);
  const stop = new AbortController();
  const heard = new Map<string, { broker: Broker; deliveries: Delivery[] }>();
  const consuming = ["w1", "w2"].map(async (worker) => {
    await using broker = await openBroker(server.url);
    await broker.bind([fanout(`copy-${worker}`)]);
    const deliveries: Delivery[] = [];
    heard.set(worker, { broker, deliveries });
    for await (const batch of broker.consume([`copy-${worker}`, "q"], { worker, credit: new Slots(100), signal: stop.signal })) {
      deliveries.push(...batch);
      await broker.settle(
        batch.map((delivery) => ({
          delivery,
          end: { kind: "ack" },
          results: [{ taskId: `${worker}-${idOf(delivery)}`, state: "SUCCESS", document: '{"status": "SUCCESS"}', expiresMs: undefined }],
          publish: [toQueue("next", { id: `${worker}-${idOf(delivery)}` })],
        })),
        { backend },
      );
    }
  });
  await eventually(
    "both listen",
    async () => Number(await hand.pubsub("NUMPAT")) === 1 && String(await hand.client("LIST")).match(/psub=1/g)?.length === 2,
  );
  await producer.publish([{ message: makeMessage({ id: "all" }), exchange: "everybody", routingKey: "" }, toQueue("q", { id: "one" })]);
  const idsOf = (worker: string): string[] => heard.get(worker)?.deliveries.map(idOf) ?? [];
  await eventually("all heard", () => [...idsOf("w1"), ...idsOf("w2")].length === 3);
  expect(idsOf("w1")).toContain("all");
  expect(idsOf("w2")).toContain("all");
  await eventually("what followed", async () => (await hand.llen("next")) === 3);
  expect((await backend.fetch(["w1-all", "w2-all"])).every((document) => document !== undefined)).toBe(true);
  const copy = heard.get("w1")?.deliveries.find((delivery) => idOf(delivery) === "all") as Delivery;
  expect(copy.queue).toBe("copy-w1");
  expect(await settleAll(heard.get("w1")!.broker, [copy])).toEqual(["lost"]);
  expect(await hand.exists("copy-w1", "copy-w2", "producer-copy")).toBe(0);
  stop.abort();
  await Promise.all(consuming);
  hand.disconnect();
});
