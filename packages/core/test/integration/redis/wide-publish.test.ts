/** A publish of many messages to one list goes by a transaction: as safe as the script that smaller ones go by. */
import { beforeEach, expect, test } from "vitest";

import { PublishError } from "../../../src/brokers/errors.ts";
import { idOf, take, toQueue } from "../../support/broker-hands.ts";
import { openBroker } from "../../support/redis-brokers.ts";
import { RedisServer } from "../../support/redis-server.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";
import { serverOfFile } from "../../support/server-of-file.ts";

const many = Array.from({ length: 40 }, (_, i) => toQueue("q", { id: `m${i}` }));
const redis = serverOfFile();
beforeEach(async () => {
  await redis.hand.config("RESETSTAT");
});

const calls = async (command: string): Promise<number> =>
  Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(await redis.hand.info("commandstats"))?.[1] ?? 0);

test("many go by one transaction, in their order, and what is remembered of them runs out", async () => {
  await using broker = await openBroker(redis.server.url);
  await broker.publish([toQueue("q", { id: "first" })]);
  await redis.hand.config("RESETSTAT");
  await broker.publish(many);
  expect(await calls("lpush")).toBe(1);
  expect(await calls("evalsha")).toBe(0);
  expect((await take(broker, ["q"], 41)).map(idOf)).toEqual(["first", ...many.map((_, i) => `m${i}`)]);
  for (const key of await redis.hand.keys("lovage:publisher:*")) expect(await redis.hand.pttl(key)).toBeGreaterThan(0);
});

test("what a broken connection still delivers after it was sent again does nothing", async () => {
  await using proxy = await TcpProxy.start(redis.server.port);
  await using broker = await openBroker(proxy.url);
  await broker.publish([toQueue("q", { id: "first" })]);
  let broken = 0;
  proxy.judge = (direction, _, chunk) => (direction === "request" && chunk.includes("m39") && broken++ === 0 ? "late" : "pass");
  await broker.publish(many);
  proxy.deliverLate();
  await redis.hand.ping();
  expect(broken).toBe(2);
  expect(await redis.hand.llen("q")).toBe(41);
});

test("what was executed and not answered is not sent again", async () => {
  await using proxy = await TcpProxy.start(redis.server.port);
  await using broker = await openBroker(proxy.url);
  await broker.publish([toQueue("q", { id: "first" })]);
  let sent = false;
  let broken = false;
  proxy.judge = (direction, _, chunk) => {
    if (direction === "request") sent ||= chunk.includes("m39");
    if (direction === "request" || !sent || broken) return "pass";
    broken = true;
    return "cut";
  };
  await broker.publish(many);
  expect(broken).toBe(true);
  expect(await redis.hand.llen("q")).toBe(41);
});

test("a key of another type is refused, and nothing is claimed to be held", async () => {
  await using broker = await openBroker(redis.server.url);
  await redis.hand.set("q", "no list");
  const error: unknown = await broker.publish(many).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(PublishError);
  expect(new Set((error as PublishError).fates)).toEqual(new Set(["refused"]));
  expect(String((error as PublishError).cause)).toContain("WRONGTYPE");
});

test("a full Redis refuses them all", async () => {
  await using full = await RedisServer.start({ args: ["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"] });
  await using broker = await openBroker(full.url);
  const error: unknown = await broker.publish(many).catch((thrown: unknown) => thrown);
  expect((error as PublishError).fates).toEqual(many.map(() => "refused"));
});

test("a user who may not close connections publishes by scripts", async () => {
  await redis.hand.call("ACL", ["SETUSER", "modest", "on", ">secret", "~*", "&*", "+@all", "-client|kill"]);
  await using broker = await openBroker(`redis://modest:secret@127.0.0.1:${redis.server.port}/0`);
  await broker.publish(many);
  expect(await calls("exec")).toBe(0);
  expect(await redis.hand.llen("q")).toBe(40);
});
