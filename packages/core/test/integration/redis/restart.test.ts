/** The server goes away and comes back: nobody is lost, and everybody is back soon. */
import { expect, test } from "vitest";

import type { Delivery } from "../../../src/brokers/broker.ts";
import { settleAll, Slots, take, toQueue, idOf } from "../../support/broker-hands.ts";
import { eventually } from "../../support/eventually.ts";
import { openBackend, openBroker } from "../../support/redis-brokers.ts";
import { RedisServer } from "../../support/redis-server.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";

const BACK_WITHIN_MS = 5000;
const STANDSTILL_MS = 1500;

test("a waiting consumer has the next message within 5 s of the server's return, and keeps its loans", async () => {
  await using server = await RedisServer.start({ appendonly: true });
  await using broker = await openBroker(server.url, { publishTimeoutMs: 30_000 });
  await using producer = await openBroker(server.url, { publishTimeoutMs: 30_000 });
  const heard: string[] = [];
  const taken: Delivery[] = [];
  const stop = new AbortController();
  const events = { connected: () => heard.push("connected"), disconnected: () => heard.push("disconnected"), alive: () => undefined };
  const consuming = (async () => {
    for await (const batch of broker.consume(["q"], { worker: "one", credit: new Slots(100), signal: stop.signal, events }))
      taken.push(...batch);
  })();
  await producer.publish([toQueue("q", { id: "before" })]);
  await eventually("the first", () => taken.length === 1);
  await server.kill();
  await eventually("told of the break", () => heard.includes("disconnected"));
  const settling = settleAll(broker, taken.slice(0, 1));
  const publishing = producer.publish([toQueue("q", { id: "meanwhile" })]);
  await server.restart();
  const returnedAt = performance.now();
  await publishing;
  await eventually("the second", () => taken.length === 2);
  expect(performance.now() - returnedAt).toBeLessThan(BACK_WITHIN_MS);
  expect(await settling).toEqual(["settled"]);
  expect(taken.map(idOf)).toEqual(["before", "meanwhile"]);
  expect(heard).toEqual(["connected", "disconnected", "connected"]);
  stop.abort();
  await consuming;
});

test("a server that comes back empty: what was on loan is lost, and said to be", async () => {
  await using server = await RedisServer.start();
  await using broker = await openBroker(server.url);
  await broker.leases?.renew("one", 60_000);
  await broker.publish([toQueue("q", { id: "a" })]);
  const taken = await take(broker, ["q"], 1);
  await server.kill();
  await server.restart();
  expect(await settleAll(broker, taken)).toEqual(["lost"]);
  expect((await broker.leases?.renew("one", 60_000))?.held).toBe(false);
});

test("a link that died without a word is found out, and the consumer goes on over another", async () => {
  await using server = await RedisServer.start();
  await using link = await TcpProxy.start(server.port);
  await using broker = await openBroker(link.url, { connectTimeoutMs: 1000 });
  await using producer = await openBroker(server.url);
  const taken: Delivery[] = [];
  let disconnects = 0;
  const stop = new AbortController();
  const consuming = (async () => {
    const events = { disconnected: () => void (disconnects += 1) };
    for await (const batch of broker.consume(["q"], { worker: "one", credit: new Slots(100), signal: stop.signal, events }))
      taken.push(...batch);
  })();
  await producer.publish([toQueue("q", { id: "before" })]);
  await eventually("the first", () => taken.length === 1);
  link.isSilent = true;
  await producer.publish([toQueue("q", { id: "into the void" })]);
  await eventually("the link is given up", () => disconnects > 0, 15_000);
  link.isSilent = false;
  await eventually("the message that was on its way", () => taken.length === 2, BACK_WITHIN_MS);
  expect(taken.map(idOf)).toEqual(["before", "into the void"]);
  stop.abort();
  await consuming;
});

test("a server that stands still for a while breaks nothing", async () => {
  await using server = await RedisServer.start();
  await using broker = await openBroker(server.url);
  const taking = take(broker, ["q"], 1);
  await broker.leases?.renew("one", 10_000);
  server.pause();
  const publishing = broker.publish([toQueue("q", { id: "a" })]);
  const resume = setTimeout(() => server.resume(), STANDSTILL_MS);
  await publishing;
  clearTimeout(resume);
  const [delivery] = await taking;
  expect(delivery?.losses).toBe(0);
});

test("a consumer ends in time although the server is away", async () => {
  await using server = await RedisServer.start();
  await using broker = await openBroker(server.url);
  const stop = new AbortController();
  let connected = false;
  const consuming = (async () => {
    const events = { connected: () => void (connected = true) };
    for await (const _ of broker.consume(["q"], { worker: "one", credit: new Slots(1), signal: stop.signal, events }));
  })();
  await eventually("connected", () => connected);
  await server.kill();
  stop.abort();
  const endedAt = performance.now();
  await consuming;
  expect(performance.now() - endedAt).toBeLessThan(5000);
});

test("10,000 watches survive that the server is killed, and miss nothing", async () => {
  await using server = await RedisServer.start({ appendonly: true });
  await using backend = await openBackend(server.url);
  await using worker = await openBackend(server.url);
  const ids = Array.from({ length: 10_000 }, (_, i) => `t${i}`);
  const told = new Set<string>();
  const watches = await Promise.all(ids.map(async (id) => await backend.watch(id, () => void told.add(id))));
  const store = async (some: readonly string[]): Promise<void> =>
    await worker.store(some.map((taskId) => ({ taskId, state: "SUCCESS", document: '{"status": "SUCCESS"}', expiresMs: 600_000 })));
  await store(ids.slice(0, 3000));
  await eventually("the first 3,000", () => told.size === 3000);
  await server.kill();
  const storing = store(ids.slice(3000, 6000));
  await server.restart();
  await storing;
  await store(ids.slice(6000));
  await eventually("all", () => told.size === ids.length, 20_000);
  for (const watch of watches) watch[Symbol.dispose]();
});
