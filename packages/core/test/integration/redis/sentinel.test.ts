/** Sentinels say who the master is, with passwords of their own, and the driver follows them; and lists of servers in turn. */
import { expect, test } from "vitest";

import { BrokerRefusedError } from "../../../src/brokers/errors.ts";
import { settleAll, Slots, take, toQueue } from "../../support/broker-hands.ts";
import { eventually } from "../../support/eventually.ts";
import { openBackend, openBroker } from "../../support/redis-brokers.ts";
import { RedisServer } from "../../support/redis-server.ts";
import { SentinelGroup } from "../../support/sentinels.ts";

const document = '{"status": "SUCCESS"}';

test("broker and results by way of sentinels, each with its password, before and after a failover", async () => {
  await using group = await SentinelGroup.start({ password: "da ta:@/pw", sentinelPassword: "watch" });
  const { url, transportOptions } = group;
  await using broker = await openBroker(url, { transportOptions });
  await using backend = await openBackend(url, { transportOptions });
  expect(broker.settlesWith(backend)).toBe(true);
  expect(broker.location).not.toContain("pw");
  await broker.publish([toQueue("q", { id: "a" })]);
  const stop = new AbortController();
  const seen: string[] = [];
  const consuming = (async () => {
    for await (const batch of broker.consume(["q"], { worker: "one", credit: new Slots(5), signal: stop.signal })) {
      for (const delivery of batch) seen.push(delivery.open().message.properties.correlationId as string);
      const results = [{ taskId: "a", state: "SUCCESS", document, expiresMs: undefined }];
      await broker.settle(
        batch.map((settled) => ({ delivery: settled, end: { kind: "ack" }, results })),
        { backend },
      );
    }
  })();
  await eventually("the first is consumed", () => seen.length === 1);
  await group.failover();
  await broker.publish([toQueue("q", { id: "b" })]);
  await eventually("the second is consumed, from the new master", () => seen.length === 2);
  expect(await backend.fetch(["a"])).toEqual([document]);
  stop.abort();
  await consuming;
});

test("a wrong password of the sentinels is refused at once, and not shown", async () => {
  await using group = await SentinelGroup.start({ sentinelPassword: "watch", replicas: 0 });
  const transportOptions = { ...group.transportOptions, sentinel_kwargs: { password: "wrong-one" } };
  await using broker = await openBroker(group.url, { transportOptions });
  const error: unknown = await broker.depth(["q"]).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(BrokerRefusedError);
  expect(String(error)).toContain("sentinel://127.0.0.1");
  expect(JSON.stringify([String(error), (error as Error).stack])).not.toContain("wrong-one");
});

test("a name that no sentinel knows, and sentinels that are away, are told", async () => {
  await using group = await SentinelGroup.start({ replicas: 0 });
  await using unknown = await openBroker(group.url, { transportOptions: { master_name: "nobody" }, publishTimeoutMs: 300 });
  await expect(unknown.publish([toQueue("q", { id: "a" })])).rejects.toThrowError(/cannot reach the broker at sentinel:.*nobody/);
  await using away = await openBroker("sentinel://127.0.0.1:1", { transportOptions: { master_name: "m" }, publishTimeoutMs: 300 });
  await expect(away.publish([toQueue("q", { id: "a" })])).rejects.toThrowError(/cannot reach the broker at sentinel:/);
});

test("a replica is no place to work, also when its URL is given: the next of the list is", async () => {
  await using master = await RedisServer.start();
  await using replica = await RedisServer.start({ args: ["--replicaof", "127.0.0.1", String(master.port)] });
  await using alone = await openBroker(replica.url, { publishTimeoutMs: 400 });
  await expect(alone.publish([toQueue("q", { id: "a" })])).rejects.toThrowError(/cannot reach/);
  await using broker = await openBroker(`${replica.url};${master.url}`);
  await broker.publish([toQueue("q", { id: "a" })]);
  expect(await settleAll(broker, await take(broker, ["q"], 1))).toEqual(["settled"]);
});

test("a list of servers: when one is gone the next is used, for publishing and for consuming", async () => {
  await using first = await RedisServer.start();
  await using second = await RedisServer.start();
  await using broker = await openBroker(`${first.url};${second.url}`);
  await broker.publish([toQueue("q", { id: "a" })]);
  const stop = new AbortController();
  let seen = 0;
  const consuming = (async () => {
    for await (const batch of broker.consume(["q"], { worker: "one", credit: new Slots(5), signal: stop.signal })) {
      seen += batch.length;
      await settleAll(broker, batch);
    }
  })();
  await eventually("the first is consumed", () => seen === 1);
  await first.kill();
  await broker.publish([toQueue("q", { id: "b" })]);
  await eventually("the second is consumed, from the other server", () => seen === 2);
  stop.abort();
  await consuming;
});
