/** `fair-reserve.lua` alone, a step at a time: what it sorts, lends and leaves behind, by the bounds it is given. */
import { beforeEach, expect, test } from "vitest";

import { loadScript } from "../../../src/stores/redis/scripts.ts";
import { serverOfFile } from "../../support/server-of-file.ts";

const redis = serverOfFile();
let number: number;

beforeEach(async () => {
  await redis.hand.hset("loans", "@epoch", "now");
  number = 1;
});

const KEYS = ["loans", "sorted", "keys", "ring", "settings", "running", "bell", "bell-inbox", "fair", "inbox", "list"];

/** An envelope of a key, as long as any other. */
const envelope = (id: string, key = id.slice(0, 1)): string => `{"id": "${id}", "fair_key": "${key}"}`;
const BYTES = envelope("a1").length;
const push = async (...ids: readonly string[]): Promise<void> => void (await redis.hand.lpush("list", ...ids.map((id) => envelope(id))));
/** 0 and 1 bytes of "full", how many are not sorted, and the ids that it lent. */
async function reserve({ want = 10, bytes = 100_000, sort = 1000, sortBytes = 100_000, anyway = false, epoch = "now" } = {}) {
  const args = [epoch, "p.", number, want, bytes, sort, sortBytes, anyway ? "1" : "", "w", ""];
  const answer = (await redis.hand.eval(loadScript("fair-reserve").modern.source, KEYS.length, ...KEYS, ...args)) as unknown[] | number;
  if (!Array.isArray(answer)) return answer;
  const [full, unsorted, , ...envelopes] = answer as [number, number, unknown, ...string[]];
  number += envelopes.length;
  return [full, unsorted, envelopes.map((text) => /"id": "(.+?)"/.exec(text)?.[1]).join(" ")];
}

test("nothing is taken for an epoch that is not in force", async () => {
  await push("a1");
  expect(await reserve({ epoch: "before" })).toBe(-1);
  expect([await redis.hand.llen("list"), await redis.hand.exists("sorted")]).toEqual([1, 0]);
});

test("until all is sorted nothing is lent, unless it is to be", async () => {
  await push("a1", "a2", "b1", "b2");
  expect(await reserve({ sort: 2 })).toEqual([0, 2, ""]);
  expect(await reserve({ sort: 1, anyway: true, want: 1 })).toEqual([0, 1, "a1"]);
  expect(await reserve({ sort: 10 })).toEqual([0, 0, "b1 a2 b2"]);
});

test("a key that has more to come has one turn for all of it", async () => {
  await push("a1", "b1");
  await reserve({ want: 0 });
  await push("a2", "a3");
  await reserve({ want: 0 });
  expect(await redis.hand.lrange("ring", 0, -1)).toEqual(["a", "b"]);
  expect(await reserve()).toEqual([0, 0, "a1 b1 a2 a3"]);
});

test("no more is sorted at once once the bytes for that are over", async () => {
  await push(...Array.from({ length: 40 }, (_, i) => `a${i}`));
  expect(await reserve({ sortBytes: 1 })).toEqual([0, 8, ""]); // a portion of 32
});

test("no more is lent than the bytes allow, but one always is, and who had no room has its turn next", async () => {
  await push("a1", "b1", "c1");
  expect(await reserve({ bytes: BYTES * 1.5 })).toEqual([1, 0, "a1"]);
  expect(await reserve({ bytes: 1 })).toEqual([1, 0, "b1"]);
  expect(await reserve()).toEqual([0, 0, "c1"]);
});

test("a weight that is lowered holds for the turn that has begun, and one's own weight leaves the common limit in force", async () => {
  await redis.hand.hset("settings", "=a", "5 0 0");
  await push("a1", "a2", "a3", "a4", "b1");
  expect(await reserve({ want: 1 })).toEqual([0, 0, "a1"]);
  await redis.hand.hset("settings", "=a", "2 0 0");
  expect(await reserve({ want: 3 })).toEqual([0, 0, "a2 a3 b1"]);
  await redis.hand.hset("settings", "*", "0 3 0");
  expect(await reserve()).toEqual([0, 0, ""]);
  await redis.hand.hset("settings", "=a", "0 4 0");
  await push("a5"); // it comes into the ring again
  expect(await reserve()).toEqual([0, 0, "a4"]);
});

test("a turn that a limit has ended is not gone on with later: the next is a whole one", async () => {
  await redis.hand.hset("settings", "=a", "3 1 0");
  await push("a1", "a2", "a3", "a4", "b1", "b2");
  expect(await reserve({ want: 1 })).toEqual([0, 0, "a1"]);
  await reserve({ want: 0 });
  await redis.hand.hset("settings", "=a", "3 0 0");
  await push("a5"); // it comes into the ring again
  expect(await reserve()).toEqual([0, 0, "b1 a2 a3 a4 b2 a5"]);
});

test("one token is in the bell while somebody has a turn, and the one that woke this worker is used up", async () => {
  await redis.hand.lpush("bell-inbox", "");
  await push("a1", "b1", "c1");
  await reserve({ want: 1 });
  expect([await redis.hand.llen("bell"), await redis.hand.exists("bell-inbox")]).toEqual([1, 0]);
  await reserve({ want: 1 });
  expect(await redis.hand.llen("bell")).toBe(1);
  await reserve({ want: 1 });
  expect(await redis.hand.exists("bell")).toBe(0);
});

test("a key whose messages somebody has removed by hand is forgotten", async () => {
  await push("a1");
  await reserve({ want: 0 });
  await redis.hand.del("sorted");
  expect(await reserve()).toEqual([0, 0, ""]);
  expect(await redis.hand.keys("*")).toEqual(["loans"]);
});

test("what is no key counts as none: digits without end, a text with a line break in it", async () => {
  await redis.hand.lpush("list", `{"fair_key": ${"9".repeat(32)}}`, '{"fair_key": "a\nb"}', '{"fair_key": "a\\"b"}');
  await reserve({ want: 0 });
  expect((await redis.hand.hkeys("keys")).toSorted()).toEqual(["", 'a\\"b']);
});
