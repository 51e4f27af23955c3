/** A process has a fixed number of connections, whatever it does and whatever happens to them: counted by Redis itself. */
import { Redis } from "ioredis";
import { Lovage } from "lovage";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { RecordingWorkers } from "../support/recording-workers.ts";
import { RedisServer } from "../support/redis-server.ts";

/** docs/connections.md: commands, publish, broadcasts, the guard's, results, watches. */
const STANDING = 6;
/** One list for each priority step of a queue. */
const LISTS = 4;
const BREAKS = 5;

test("a worker: as many as documented at most, also while all of them are broken again and again", async ({ annotate }) => {
  await using redis = await RedisServer.start();
  const settings = { redisClientName: "worker", leaseTime: 2 };
  await using workers = new RecordingWorkers({ broker: redis.url, backend: redis.url, settings });
  await workers.start();
  await using app = new Lovage("budget", {
    brokerUrl: redis.url,
    resultBackend: redis.url,
    redisClientName: "producer",
    env: false,
    configFile: false,
  });
  const hand = new Redis(redis.url);
  const names = async (process: string): Promise<string[]> =>
    [...String(await hand.client("LIST")).matchAll(/ name=([^ ]*)/g)]
      .map(([, name]) => String(name))
      .filter((name) => name.startsWith(process));
  let most = 0;
  let published = 0;
  const record = async (): Promise<void> => {
    const sent = await Promise.all(Array.from({ length: 50 }, () => app.sendTask("test.record", [published++, 0])));
    await Promise.all(sent.map((result) => result.get({ timeout: 30 })));
    most = Math.max(most, (await names("worker")).length);
  };
  await record();
  for (let i = 0; i < BREAKS; i += 1) {
    for (const type of ["normal", "pubsub"]) await hand.call("CLIENT", "KILL", "TYPE", type, "SKIPME", "yes");
    const breaking = record();
    for (let look = 0; look < 20; look += 1) most = Math.max(most, (await names("worker")).length);
    await breaking;
  }
  const waiting = await eventually("all that wait are back", async () => {
    const now = await names("worker");
    return now.filter((name) => name === "worker:wait-for-celery").length === LISTS ? now : undefined;
  });
  await annotate(`at most ${most}: ${waiting.toSorted().join(", ")}`);
  expect(most).toBeLessThanOrEqual(STANDING + LISTS);
  const producer = await names("producer"); // made when they are needed
  expect(producer.filter((name, at) => producer.indexOf(name) !== at)).toEqual([]);
  expect(["producer:commands", "producer:publish", "producer:results", "producer:wait-for-results"]).toEqual(
    expect.arrayContaining(producer),
  );
  hand.disconnect();
});
