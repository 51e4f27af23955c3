import { Redis } from "ioredis";
import { afterAll, beforeAll } from "vitest";

import type { Broker } from "../../src/brokers/broker.ts";
import { openRedisBroker } from "../../src/brokers/redis/index.ts";
import { openRedisBackend } from "../../src/results/redis/index.ts";
import { systemClock, systemRandom } from "../../src/shared/clock.ts";
import { silentLogger } from "../../src/shared/log.ts";
import { RedisServer } from "../support/redis-server.ts";
import { brokerConformance } from "./broker.ts";

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };
let server: RedisServer;

beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(async () => {
  await server.stop();
});

for (const { name, transportOptions, backendDb } of [
  { name: "redis", transportOptions: {}, backendDb: 0 },
  { name: "redis, with a key prefix and the results in another database", transportOptions: { global_keyprefix: "{shop}:" }, backendDb: 3 },
]) {
  brokerConformance(name, async () => {
    const open: AsyncDisposable[] = [];
    const keep = <T extends AsyncDisposable>(each: T): T => {
      open.push(each);
      return each;
    };
    const hand = new Redis(server.url);
    await hand.flushall();
    return {
      open: async (caps): Promise<Broker> =>
        keep(await openRedisBroker({ url: server.url, transportOptions, leaseMs: 300, ...caps }, deps)),
      openBackend: async () => keep(await openRedisBackend({ url: server.url.replace("/0", `/${backendDb}`) }, deps)),
      inject: async (queue, raw) => void (await hand.lpush(`${transportOptions.global_keyprefix ?? ""}${queue}`, Buffer.from(raw))),
      async [Symbol.asyncDispose]() {
        hand.disconnect();
        for (const each of open) await each[Symbol.asyncDispose]();
      },
    };
  });
}
