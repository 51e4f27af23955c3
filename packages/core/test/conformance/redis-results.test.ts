import { Redis } from "ioredis";
import { afterAll, beforeAll } from "vitest";

import { openRedisBackend } from "../../src/results/redis/index.ts";
import { systemClock, systemRandom } from "../../src/shared/clock.ts";
import { silentLogger } from "../../src/shared/log.ts";
import { RedisServer } from "../support/redis-server.ts";
import { resultBackendConformance } from "./result-backend.ts";

let server: RedisServer;

beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(async () => {
  await server.stop();
});

for (const { name, transportOptions } of [
  { name: "redis", transportOptions: {} },
  { name: "redis, with a key prefix", transportOptions: { global_keyprefix: "shop" } },
]) {
  resultBackendConformance(name, async () => {
    const open: AsyncDisposable[] = [];
    const hand = new Redis(server.url);
    await hand.flushall();
    hand.disconnect();
    return {
      open: async () => {
        const backend = await openRedisBackend(
          { url: server.url, transportOptions },
          { clock: systemClock, random: systemRandom, logger: silentLogger },
        );
        open.push(backend);
        return backend;
      },
      async [Symbol.asyncDispose]() {
        for (const each of open) await each[Symbol.asyncDispose]();
      },
    };
  });
}
