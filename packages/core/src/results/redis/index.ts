/** Opens the Redis result backend. */
import type { Clock, Random } from "../../shared/clock.ts";
import type { Logger } from "../../shared/log.ts";
import { type LinkOptions, RedisLink } from "../../stores/redis/link.ts";
import { resolveResultPrefix } from "../../stores/redis/options.ts";
import type { RedisSpec } from "../../stores/redis/spec.ts";
import { RedisSupervisor } from "../../stores/redis/supervisor.ts";
import { parseRedisTarget } from "../../stores/redis/target.ts";
import type { ResultBackend } from "../result-backend.ts";
import { RedisBackend } from "./redis-backend.ts";

export interface RedisDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** A caller's own signal ends its wait earlier. */
const DEADLINE_MS = 20_000;
const CONNECT_TIMEOUT_MS = 4000;
/** A command that has no answer for so long, while nothing else is answered either, means a broken connection. */
const SILENCE_MS = 5000;

/**
 * Connects when it is first used, not now.
 * @throws RedisConfigurationError for a URL or an option that cannot be used.
 */
export async function openRedisBackend(spec: RedisSpec, deps: RedisDeps): Promise<ResultBackend> {
  const target = parseRedisTarget(spec);
  const prefix = resolveResultPrefix(spec.transportOptions ?? {});
  const supervisor = new RedisSupervisor(target, spec, deps);
  const limits = {
    connectTimeoutMs: spec.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    socketTimeoutMs: Math.min(spec.socketTimeoutMs ?? SILENCE_MS, SILENCE_MS),
  };
  const newLink = (purpose: string, more: Omit<LinkOptions, "purpose"> = {}): RedisLink =>
    new RedisLink(supervisor, limits, deps, { purpose, ...more });
  return new RedisBackend(target, prefix, newLink, deps, DEADLINE_MS, () => supervisor.close());
}
