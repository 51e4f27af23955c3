/** Celery counts a member twice when its second part differs: such a part is surplus, and only Redis can hold one. */
import { expect, test } from "vitest";

import type { GroupPart } from "../../../src/results/groups.ts";
import { openBackend } from "../../support/redis-brokers.ts";
import { RedisServer } from "../../support/redis-server.ts";

const part = (taskId: string, state = "SUCCESS"): GroupPart => ({
  groupId: "g",
  taskId,
  index: undefined,
  part: `[1, "${taskId}", "${state}", 1]`,
  result: undefined,
  expiresMs: 60_000,
  rootId: "root",
  priority: 0,
  body: "{}",
});

test("a group that is open again without its surplus parts waits for others in their place", async () => {
  await using redis = await RedisServer.start();
  await using backend = await openBackend(redis.url);
  const { groups } = backend;
  await groups.begin([{ groupId: "g", size: 2, expiresMs: 60_000 }]);
  expect(await groups.addParts([part("a"), part("surplus")])).toEqual([false, true]);
  const texts = async (): Promise<string[]> => (await groups.parts("g")).parts.map(String);
  const surplus = (await texts()).filter((text) => text.includes("surplus"));
  expect(await groups.reopen("g", surplus)).toBe(true);
  expect(await groups.due("g")).toBeUndefined();
  expect(await texts()).toEqual([part("a").part]);
  expect(await groups.addParts([part("b")])).toEqual([true]);
  expect(await groups.reopen("g", surplus)).toBe(false);
  expect(await groups.due("g")).toMatchObject({ memberId: "b" });
});
