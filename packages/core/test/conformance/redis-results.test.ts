import { Redis } from "ioredis";
import { afterAll, beforeAll } from "vitest";

import { openRedisBackend } from "../../src/results/redis/index.ts";
import { systemClock, systemRandom } from "../../src/shared/clock.ts";
import { silentLogger } from "../../src/shared/log.ts";
import { RedisServer } from "../support/redis-server.ts";
import { resultBackendConformance } from "./result-backend.ts";

let usual: RedisServer;
/** Knows no RESP 3: a subscribed connection takes no other commands. */
let old: RedisServer;

beforeAll(async () => {
  usual = await RedisServer.start();
  old = await RedisServer.start({ args: ["--rename-command", "HELLO", ""] });
});
afterAll(async () => {
  await usual.stop();
  await old.stop();
});

for (const { name, transportOptions, serverOf } of [
  { name: "redis", transportOptions: {}, serverOf: () => usual },
  { name: "redis, with a key prefix", transportOptions: { global_keyprefix: "shop" }, serverOf: () => usual },
  { name: "redis, without RESP 3", transportOptions: {}, serverOf: () => old },
]) {
  resultBackendConformance(name, async () => {
    const server = serverOf();
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
