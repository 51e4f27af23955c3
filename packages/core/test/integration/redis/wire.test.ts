/** What stands in Redis is what Celery reads and writes there (recorded: fixtures of redis-keys and redis-commands). */
import { Redis } from "ioredis";
import { expect, test } from "vitest";

import { settleAll, take, toQueue, makeMessage } from "../../support/broker-hands.ts";
import { eventually } from "../../support/eventually.ts";
import { openBackend, openBroker } from "../../support/redis-brokers.ts";
import { serverOfFile } from "../../support/server-of-file.ts";

const SEP = "\u0006\u0016";
const redis = serverOfFile();

test("a queue is a list per priority step, pushed at the left", async () => {
  await using broker = await openBroker(redis.server.url, { transportOptions: { global_keyprefix: "p." } });
  await broker.publish([0, 2, 3, 8, 9, 10].map((priority) => toQueue("celery", { id: `m${priority}`, priority })));
  expect((await redis.hand.keys("p.celery*")).toSorted()).toEqual(["p.celery", `p.celery${SEP}3`, `p.celery${SEP}6`, `p.celery${SEP}9`]);
  const ids = async (key: string): Promise<string[]> =>
    (await redis.hand.lrange(key, 0, -1)).map((text) => (JSON.parse(text) as { headers: { id: string } }).headers.id);
  expect(await ids("p.celery")).toEqual(["m2", "m0"]);
  expect(await ids(`p.celery${SEP}9`)).toEqual(["m10", "m9"]);
  const envelope = JSON.parse((await redis.hand.lindex(`p.celery${SEP}9`, 0)) as string) as { properties: Record<string, unknown> };
  expect(envelope.properties).toMatchObject({
    priority: 10,
    delivery_info: { exchange: "", routing_key: "celery" },
    body_encoding: "base64",
  });
});

test("nothing of a publish but the lists stays for long", async () => {
  await using broker = await openBroker(redis.server.url);
  await broker.publish([toQueue("celery", { id: "a" })]);
  const others = (await redis.hand.keys("*")).filter((key) => key !== "celery");
  expect(others.every((key) => key.startsWith("lovage:publisher:"))).toBe(true);
  for (const key of others) expect(await redis.hand.pttl(key)).toBeGreaterThan(0);
});

test("bindings are kombu's, and are declared anew when they are gone", async () => {
  await using broker = await openBroker(redis.server.url);
  const direct = { name: "celery", exchange: "celery", exchangeType: "direct" as const, routingKey: "celery" };
  await broker.bind([direct, { name: "q1", exchange: "tex", exchangeType: "topic", routingKey: "a.*" }]);
  expect(await redis.hand.smembers("_kombu.binding.celery")).toEqual([`celery${SEP}${SEP}celery`]);
  expect(await redis.hand.smembers("_kombu.binding.tex")).toEqual([`a.*${SEP}^a\\..*?[^\\.]$${SEP}q1`]);
  await redis.hand.del("_kombu.binding.celery");
  await broker.publish([{ message: makeMessage({ id: "a" }), exchange: "celery", routingKey: "celery" }]);
  expect(await redis.hand.llen("celery")).toBe(1);
  expect(await redis.hand.smembers("_kombu.binding.celery")).toEqual([`celery${SEP}${SEP}celery`]);
});

test("what Python bound is followed, by its own expressions", async () => {
  await using broker = await openBroker(redis.server.url);
  await redis.hand.sadd(
    "_kombu.binding.tex",
    `a.*${SEP}^a\\.[^\\.]+$${SEP}new`,
    `a.*${SEP}^a\\..*?[^\\.]$${SEP}old`,
    `broken${SEP}^(${SEP}never`,
  );
  for (const routingKey of ["a.b", "a.b.c"])
    await broker.publish([{ message: makeMessage({ id: routingKey }), exchange: "tex", routingKey }]);
  expect([await redis.hand.llen("new"), await redis.hand.llen("old"), await redis.hand.llen("never")]).toEqual([1, 2, 0]);
});

test("messages that no binding takes go to the queue named for them", async () => {
  await using broker = await openBroker(redis.server.url, { transportOptions: { deadletter_queue: "unrouted" } });
  await broker.publish([{ message: makeMessage({ id: "a" }), exchange: "nowhere", routingKey: "k" }]);
  expect(await redis.hand.llen("unrouted")).toBe(1);
});

test("channels of fanout exchanges are kombu's", async () => {
  await using broker = await openBroker(redis.server.url, { transportOptions: { global_keyprefix: "p." } });
  const channels: string[] = [];
  const listener = new Redis(redis.server.url);
  await listener.psubscribe("*");
  listener.on("pmessage", (_pattern, channel: string) => channels.push(channel));
  await broker.broadcast?.publish(makeMessage({ id: "a" }), "celery.pidbox", "");
  await broker.broadcast?.publish(makeMessage({ id: "a" }), "celeryev", "task.multi");
  await eventually("both heard", () => channels.length === 2);
  expect(channels).toEqual(["p./0.celery.pidbox", "p./0.celeryev/task.multi"]);
  listener.disconnect();
});

test("results have Celery's key, time to live and channel, also when they end a loan", async () => {
  await using broker = await openBroker(redis.server.url);
  await using backend = await openBackend(redis.server.url, { transportOptions: { global_keyprefix: "shop" } });
  const heard: string[] = [];
  const listener = new Redis(redis.server.url);
  await listener.psubscribe("*celery-task-meta-*");
  listener.on("pmessage", (_pattern, channel: string, text: string) => heard.push(`${channel} ${text}`));
  const document = '{"status": "SUCCESS", "result": 5, "task_id": "a"}';
  await broker.publish([toQueue("q", { id: "a" })]);
  const [delivery] = await take(broker, ["q"], 1);
  const results = [{ taskId: "a", state: "SUCCESS", document, expiresMs: 86_400_000 }];
  await broker.settle([{ delivery: delivery!, end: { kind: "ack" }, results }], { backend });
  await backend.store([{ taskId: "b", state: "FAILURE", document: '{"status": "FAILURE"}', expiresMs: undefined }]);
  await eventually("both heard", () => heard.length === 2);
  expect(heard).toEqual([`shop_celery-task-meta-a ${document}`, 'shop_celery-task-meta-b {"status": "FAILURE"}']);
  expect(await redis.hand.get("shop_celery-task-meta-a")).toBe(document);
  expect(await redis.hand.ttl("shop_celery-task-meta-a")).toBe(86_400);
  expect(await redis.hand.ttl("shop_celery-task-meta-b")).toBe(-1);
  listener.disconnect();
});

test("loans are in a hash of the worker and not in kombu's", async () => {
  await using broker = await openBroker(redis.server.url);
  await broker.publish([toQueue("q", { id: "a" })]);
  const envelope = await redis.hand.lindex("q", 0);
  const taken = await take(broker, ["q"], 1);
  const loans = await redis.hand.hgetall("lovage:loans:one");
  expect(Object.entries(loans).filter(([field]) => field !== "@epoch")).toEqual([[taken[0]?.loan, envelope]]);
  expect(taken[0]?.loan).toMatch(/\.1\nq$/);
  expect(await redis.hand.exists("unacked", "unacked_index")).toBe(0);
  await settleAll(broker, taken);
  expect(Object.keys(await redis.hand.hgetall("lovage:loans:one"))).toEqual(["@epoch"]);
});

test("a worker that was released leaves nothing but what runs out", async () => {
  await using broker = await openBroker(redis.server.url);
  await broker.leases?.renew("one", 10_000);
  await broker.publish([toQueue("q", { id: "a" })]);
  await settleAll(broker, await take(broker, ["q"], 1));
  await broker.leases?.release("one");
  const left = (await redis.hand.keys("*")).filter((key) => !key.startsWith("lovage:publisher:"));
  expect(left.toSorted()).toEqual(["lovage:graves", "lovage:inboxes:one", "lovage:swept:one"]);
  expect(await redis.hand.pttl("lovage:swept:one")).toBeGreaterThan(0);
});
