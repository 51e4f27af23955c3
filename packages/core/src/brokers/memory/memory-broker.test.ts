/** What is this driver's own; what every broker does is in test/conformance/broker.ts. */
import { expect, test } from "vitest";
import type { Message } from "../../protocol/message.ts";
import { newId } from "../../shared/ids.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import type { ResultBackend, ResultWrite } from "../../results/result-backend.ts";
import type { Broker, Delivery, Outgoing } from "../broker.ts";
import { dropMemoryBroker, openMemoryBroker } from "./index.ts";

function outgoing(id: string): Outgoing {
  const message: Message = {
    headers: { id },
    properties: { correlationId: id, replyTo: undefined, deliveryMode: 2, priority: 0, expirationMs: undefined, others: {} },
    contentType: "application/json",
    contentEncoding: "utf-8",
    body: Buffer.from("[[], {}, {}]"),
  };
  return { message, exchange: "", routingKey: "q" };
}

async function take(broker: Broker, want: number, events = {}): Promise<readonly Delivery[]> {
  const credit = { free: () => want, whenFree: async () => {} };
  const signal = new AbortController().signal;
  for await (const batch of broker.consume(["q"], { worker: "w", credit, signal, events })) return batch;
  return [];
}

test("a name is one broker for the whole process, also after it was closed, until it is dropped", async () => {
  const spec = { kind: "memory", name: newId() } as const;
  const clock = new FakeClock();
  const one = await openMemoryBroker(spec, { clock });
  await one.publish([outgoing("a")]);
  await one[Symbol.asyncDispose]();
  expect(await (await openMemoryBroker(spec, { clock })).depth(["q"])).toMatchObject([{ ready: 1 }]);
  dropMemoryBroker(spec.name);
  expect(await (await openMemoryBroker(spec, { clock })).depth(["q"])).toMatchObject([{ ready: 0 }]);
});

test("a settlement is done when its promise is made: nothing comes between ack, result and follow-up", async () => {
  const broker = await openMemoryBroker({ kind: "memory", name: newId() }, { clock: new FakeClock() });
  await broker.publish([outgoing("a")]);
  const [delivery] = (await take(broker, 1)) as [Delivery];
  const stored: string[] = [];
  const backend = {
    kind: "memory",
    store: async (writes: readonly ResultWrite[]) => void stored.push(...writes.map(({ taskId }) => taskId)),
  } as unknown as ResultBackend;
  const results = [{ taskId: "a", state: "SUCCESS", document: "{}", expiresMs: undefined }];
  const settling = broker.settle([{ delivery, end: { kind: "ack" }, results, publish: [outgoing("b")] }], { backend });
  const depth = broker.depth(["q"]); // asked in the same turn
  expect(stored).toEqual(["a"]);
  expect(await depth).toMatchObject([{ ready: 1, onLoan: 0 }]);
  expect(await settling).toEqual(["settled"]);
});

test("an idle consumer says that it is alive by the clock it was given, and leaves no timer behind", async () => {
  const clock = new FakeClock();
  const broker = await openMemoryBroker({ kind: "memory", name: newId() }, { clock });
  let alive = 0;
  const taking = take(broker, 1, { alive: () => alive++ });
  await clock.advance(10_000);
  expect(alive).toBeGreaterThanOrEqual(5);
  await broker[Symbol.asyncDispose]();
  expect(await taking).toEqual([]);
  expect(clock.pendingTimers).toBe(0);
});

test("a worker that lost its lease is lent nothing until it has renewed it, and so knows", async () => {
  const clock = new FakeClock();
  const broker = await openMemoryBroker({ kind: "memory", name: newId() }, { clock });
  await broker.leases.renew("w", 1000);
  await clock.advance(1000);
  await broker.leases.sweep({ maxDeliveries: 5, leaseMs: 1000, visibilityTimeoutMs: 1 });
  await broker.publish([outgoing("a")]);
  let taken: readonly Delivery[] | undefined;
  const taking = take(broker, 1).then((batch) => (taken = batch));
  await clock.advance(10_000);
  expect(taken).toBeUndefined();
  expect(await broker.leases.renew("w", 1000)).toMatchObject({ held: false });
  expect(await taking).toHaveLength(1);
});
