/** Revoking, with workers in processes of their own and a real Redis. */
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { PoolProject } from "../../support/pool-project.ts";
import { openBroker } from "../../support/redis-brokers.ts";
import { RedisServer } from "../../support/redis-server.ts";

test.each(["async", "threads", "processes"])("in %s the signal of a task that runs aborts at once", async (pool) => {
  await using redis = await RedisServer.start();
  await using project = new PoolProject(redis.url);
  const worker = await project.start(pool);
  const running = await project.client.sendTask("reason");
  await eventually("it runs", async () => (await worker.status()).running === 1);
  await running.revoke();
  await project.noted(/^TaskRevokedError$/, 5000); // within a second, on a machine that has time for it
  await eventually("its loan has ended", async () => (await worker.status()).onLoan === 0); // and its result is stored
  expect(await running.state()).toBe("SUCCESS"); // it returned all the same
});

test.each(["threads", "processes"])("in %s a task that heeds nothing is killed, and its slot comes back", async (pool) => {
  await using redis = await RedisServer.start();
  await using project = new PoolProject(redis.url);
  const worker = await project.start(pool, { concurrency: 1 });
  const stuck = await project.client.sendTask("block", [120_000]);
  await project.noted(/^block/);
  await stuck.revoke({ terminate: true });
  await expect(stuck.get({ timeout: 20 })).rejects.toMatchObject({ name: "TaskRevokedError" });
  await eventually("it is gone", async () => (await worker.status()).running === 0, 20_000);
  await worker.whenSlots(1);
  expect(await project.call("add", 1, 2)).toBe(3);
  expect(project.notes().filter((note) => note.startsWith("block"))).toHaveLength(1); // it did not go back to its queue
});

test("a revoke holds though every worker was killed between it and the message's turn", async () => {
  await using redis = await RedisServer.start();
  await using project = new PoolProject(redis.url, { leaseTime: 1 });
  const first = await project.start("async", { concurrency: 1 });
  const busy = await project.client.sendTask("paced", [0, 60_000]);
  await eventually("every slot is busy", async () => (await first.status()).running === 1);
  const waits = await project.client.sendTask("record", [1]);
  const far = await project.client.sendTask("record", [2], null, { countdown: 1 });
  await project.client.revoke([busy.id, waits.id, far.id]);
  await first.kill();
  const second = await project.start("async", { concurrency: 1 });
  await project.client.sendTask("record", [3]);
  await project.noted(/^record 3/);
  await eventually("nothing is left", async () => {
    const [depth] = await (await project.client.broker()).depth(["celery"]);
    return depth?.ready === 0 && depth.parked === 0 && (await second.status()).onLoan === 0;
  });
  expect(project.notes().filter((note) => note.startsWith("record"))).toEqual(["record 3"]);
  for (const { id } of [busy, waits, far]) expect(await project.client.result(id).state()).toBe("REVOKED");
});

test("a revoke that the control channel lost is found when the worker hears again", async () => {
  await using redis = await RedisServer.start();
  await using project = new PoolProject(redis.url);
  const worker = await project.start("async");
  const running = await project.client.sendTask("reason");
  await eventually("it runs", async () => (await worker.status()).running === 1);
  const hand = new Redis(redis.url);
  // Nobody hears what is said while no subscription is in force: the same as if the broadcast had been lost.
  await hand.call("CLIENT", "KILL", "TYPE", "pubsub");
  const { revocations } = await project.client.broker();
  await revocations?.add([`task:${running.id}`]);
  hand.disconnect();
  await project.noted(/^TaskRevokedError$/, 20_000);
});

test("a queue for answers that a crash left behind is removed by who opens the next one", async () => {
  await using redis = await RedisServer.start();
  const hand = new Redis(redis.url);
  const exchange = "reply.celery.pidbox";
  const left = { exchange, routingKey: "crashed" };
  const separator = "\u0006\u0016";
  await hand.zadd("lovage:reply-queues", Date.now() - 2 * 3_600_000, JSON.stringify(left));
  await hand.sadd(
    `_kombu.binding.${exchange}`,
    `crashed${separator}${separator}crashed.${exchange}`,
    `py${separator}${separator}py.${exchange}`,
  );
  await hand.lpush(`crashed.${exchange}`, "an answer");
  await hand.zadd("lovage:reply-queues", Date.now(), JSON.stringify({ exchange, routingKey: "waits" })); // somebody's who waits now
  await using broker = await openBroker(redis.url);
  {
    await using _ = await broker.broadcast?.openReplies(exchange, "me");
    expect(await hand.exists(`crashed.${exchange}`)).toBe(0);
    const bound = await hand.smembers(`_kombu.binding.${exchange}`);
    expect(new Set(bound.map((each) => each.split(separator)[0]))).toEqual(new Set(["me", "py"]));
    expect(await hand.zcard("lovage:reply-queues")).toBe(2);
  }
  expect(await hand.smembers(`_kombu.binding.${exchange}`)).toHaveLength(1);
  expect(await hand.zrange("lovage:reply-queues", "0", "-1")).toEqual([JSON.stringify({ exchange, routingKey: "waits" })]);
  hand.disconnect();
});

test("to listen costs an idle worker a command in twenty seconds at most", async () => {
  await using redis = await RedisServer.start();
  await using project = new PoolProject(redis.url);
  await project.start("async");
  const hand = new Redis(redis.url);
  await eventually("it waits and listens", async () => {
    const channels = (await hand.call("PUBSUB", "NUMPAT")) as number; // control, and pauses of queues
    return channels === 2 && (await hand.info("clients")).includes("blocked_clients:4");
  });
  const monitor = await hand.monitor();
  const commands: string[] = [];
  monitor.on("monitor", (_time: string, words: readonly string[], source: string) => {
    if (source !== "lua") commands.push(words.join(" "));
  });
  await new Promise((resolve) => setTimeout(resolve, 20_000)); // measures a rate: time itself is what is waited for
  monitor.disconnect();
  hand.disconnect();
  expect(commands.length).toBeGreaterThan(6); // it is alive
  expect(commands.filter((command) => /^(?:ping|p?subscribe)\b|lovage:revoked/i.test(command)).length).toBeLessThanOrEqual(1);
});
