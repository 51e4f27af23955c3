/** Redis brokers and backends of a test, closed with it. */
import type { Broker } from "../../src/brokers/broker.ts";
import { openRedisBroker } from "../../src/brokers/redis/index.ts";
import type { ResultBackend } from "../../src/results/result-backend.ts";
import { openRedisBackend } from "../../src/results/redis/index.ts";
import { systemClock, systemRandom } from "../../src/shared/clock.ts";
import { silentLogger } from "../../src/shared/log.ts";
import type { RedisSpec } from "../../src/stores/redis/spec.ts";

export const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };

export const openBroker = async (url: string, spec: Partial<RedisSpec> = {}): Promise<Broker> =>
  await openRedisBroker({ url, ...spec }, deps);
export const openBackend = async (url: string, spec: Partial<RedisSpec> = {}): Promise<ResultBackend> =>
  await openRedisBackend({ url, ...spec }, deps);
