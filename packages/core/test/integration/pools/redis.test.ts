/** Pools on Redis: what they lose is counted there too, and what a dead worker held runs elsewhere. */
import { expect, test } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { isAlive, PoolProject } from "../../support/pool-project.ts";
import { RedisServer } from "../../support/redis-server.ts";

test("a child that is killed from outside: its task runs again; one that kills every child is dead-lettered", async () => {
  await using redis = await RedisServer.start();
  await using project = new PoolProject(redis.url, { maxDeliveries: 3 });
  const worker = await project.start("processes", { concurrency: 1 });
  const blocked = await project.client.sendTask<number>("block", [1500]);
  const [, pid] = (await project.noted(/^block/)).split(" ");
  process.kill(Number(pid), "SIGKILL");
  expect(await blocked.get({ timeout: 20 })).toBe(1500);
  expect(new Set(project.notes().filter((note) => note.startsWith("block"))).size).toBe(2); // in two processes
  const poison = await project.client.sendTask("die");
  await expect(poison.get({ timeout: 20 })).rejects.toMatchObject({ name: "WorkerLostError" });
  expect(project.notes().filter((note) => note === "die")).toHaveLength(3);
  expect(await project.call("add", 1, 2)).toBe(3);
  const page = await (await project.client.broker()).deadLetters?.page("celery", { limit: 5 });
  expect(page?.entries).toMatchObject([{ id: poison.id, reason: "poison", losses: 3 }]);
  expect(await worker.stop()).toBe(0);
});

test("a worker is killed while its children are blocked: they go with it, and another worker runs what they had", async () => {
  await using redis = await RedisServer.start();
  await using project = new PoolProject(redis.url, { leaseTime: 1 });
  const killed = await project.start("processes");
  const sent = await Promise.all([1, 2].map(() => project.client.sendTask<number>("block", [3000])));
  await eventually("both run", () => project.notes().filter((note) => note.startsWith("block")).length === 2);
  const children = killed.children();
  await killed.kill();
  const other = await project.start("threads");
  await eventually("its children are gone", () => children.every((pid) => !isAlive(pid)), 5000);
  expect(await Promise.all(sent.map((each) => each.get({ timeout: 30 })))).toEqual([3000, 3000]);
  expect(project.notes().filter((note) => note.startsWith("block"))).toHaveLength(4); // each once more, and no more than that
  await other.stop();
});
