/** One redis-server for all tests of a file, and a client to look into it by hand. Empty before each test. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach } from "vitest";

import { RedisServer } from "./redis-server.ts";

export interface ServerOfFile {
  readonly server: RedisServer;
  readonly hand: Redis;
}

/** To be called once, outside of any test; to be read within tests. */
export function serverOfFile(): ServerOfFile {
  let server: RedisServer;
  let hand: Redis;
  beforeAll(async () => {
    server = await RedisServer.start();
    hand = new Redis(server.url);
  });
  beforeEach(async () => {
    await hand.flushall();
  });
  afterAll(async () => {
    hand.disconnect();
    await server.stop();
  });
  return {
    get server() {
      return server;
    },
    get hand() {
      return hand;
    },
  };
}
