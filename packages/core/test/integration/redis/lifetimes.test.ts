/** What nobody comes back for goes by itself: every key of a workflow or a batch that stands still has a time to live. */
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import type { GroupPart } from "../../../src/results/groups.ts";
import { UNIQUE_HEADER, uniqueText } from "../../../src/protocol/unique.ts";
import { toQueue } from "../../support/broker-hands.ts";
import { openBackend, openBroker } from "../../support/redis-brokers.ts";
import { RedisServer } from "../../support/redis-server.ts";

const EXPIRES_MS = 60_000;
const BODY = '{"task": "sum"}';

const part = (groupId: string, index: number): GroupPart => ({
  groupId,
  taskId: `${groupId}-${index}`,
  index,
  part: `[1, "${groupId}-${index}", "SUCCESS", 1]`,
  result: undefined,
  expiresMs: EXPIRES_MS,
  rootId: "root",
  priority: 0,
  body: BODY,
});

test.each([
  ["a group that waits for a member", 1],
  ["a group that is due and that nobody ends", 2],
])("%s", async (_, parts) => {
  await using redis = await RedisServer.start();
  await using backend = await openBackend(redis.url);
  await backend.groups.begin([{ groupId: "g", size: 2, expiresMs: EXPIRES_MS }]);
  for (let index = 0; index < parts; index++) await backend.groups.addParts([part("g", index)]);
  await expectLifetimes(redis, parts === 2 ? ["lovage:due-groups"] : []);
});

test.each(["by itself", "with what follows"] as const)("a group that is ended %s leaves nothing behind but its results", async (how) => {
  await using redis = await RedisServer.start();
  await using backend = await openBackend(redis.url);
  await using broker = await openBroker(redis.url);
  await backend.groups.begin([{ groupId: "g", size: 1, expiresMs: EXPIRES_MS }]);
  await backend.groups.save("g", "saved", EXPIRES_MS);
  expect(await backend.groups.addParts([part("g", 0)])).toEqual([true]);
  const end = { groupId: "g", home: "q", publish: [], results: [], parts: [] };
  if (how === "by itself") await backend.groups.end(["g"]);
  else expect(await broker.groupEnds?.finish(end, { backend })).toEqual({ kind: "ended", completed: [] });
  await using hand = handOf(redis);
  expect((await hand.redis.keys("*")).filter((key) => /group|taskset/.test(key))).toEqual([]);
});

test("parts that come before anybody has said how many there are", async () => {
  await using redis = await RedisServer.start();
  await using backend = await openBackend(redis.url);
  await backend.groups.addParts([part("g", 0)]);
  await expectLifetimes(redis, []);
});

test("a batch that waits, with something due that nobody tells", async () => {
  await using redis = await RedisServer.start();
  await using backend = await openBackend(redis.url);
  const batch = { id: "b", document: "{}", callbacks: ["death"] as const, parentId: undefined, expiresMs: EXPIRES_MS };
  await backend.batches?.begin(batch);
  await backend.batches?.reserve("b", { adder: "-x", sequence: 0, count: 2 });
  await backend.batches?.confirm("b", "-x", 0);
  await backend.batches?.seal("b");
  await backend.batches?.report("b", [{ place: 0, state: "failed" }]);
  await expectLifetimes(redis, ["lovage:batches-due"]);
});

test("a lock that is freed leaves nothing behind, in the index of all locks neither", async () => {
  await using redis = await RedisServer.start();
  await using broker = await openBroker(redis.url);
  const unique = { mode: "done", name: "t:1", ttlMs: EXPIRES_MS, waitMs: 0, maxWaitMs: 0 } as const;
  await broker.uniques?.publish({ ...toQueue("q", { id: "a", headers: { [UNIQUE_HEADER]: uniqueText(unique) } }), unique });
  await using hand = handOf(redis);
  expect((await hand.redis.keys("lovage:unique*")).toSorted()).toEqual(["lovage:unique:t:1", "lovage:uniques"]);
  await broker.uniques?.step([{ name: "t:1", taskId: "a", queue: "q", what: { kind: "free" } }]);
  expect(await hand.redis.keys("lovage:unique*")).toEqual([]);
});

function handOf({ url }: RedisServer) {
  const redis = new Redis(url);
  return { redis, [Symbol.asyncDispose]: async () => redis.disconnect() };
}

async function expectLifetimes(redis: RedisServer, among: readonly string[]): Promise<void> {
  await using hand = handOf(redis);
  const keys = await hand.redis.keys("*");
  expect(keys).toEqual(expect.arrayContaining([...among]));
  const eternal: string[] = [];
  for (const key of keys) if ((await hand.redis.pttl(key)) < 0) eternal.push(key);
  expect(keys.length).toBeGreaterThan(1);
  expect(eternal).toEqual([]);
}
