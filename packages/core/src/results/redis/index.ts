/** Opens the Redis result backend. */
import type { Clock, Random } from "../../shared/clock.ts";
import type { Logger } from "../../shared/log.ts";
import { parseRedisAddress } from "../../stores/redis/address.ts";
import { type LinkOptions, RedisLink } from "../../stores/redis/link.ts";
import { resolveResultPrefix } from "../../stores/redis/options.ts";
import type { RedisSpec } from "../../stores/redis/spec.ts";
import type { ResultBackend } from "../result-backend.ts";
import { RedisBackend } from "./redis-backend.ts";

export interface RedisDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** A caller's own signal ends its wait earlier. */
const DEADLINE_MS = 20_000;

/**
 * Connects when it is first used, not now.
 * @throws RedisConfigurationError for a URL or an option that cannot be used.
 */
export async function openRedisBackend(spec: RedisSpec, deps: RedisDeps): Promise<ResultBackend> {
  const address = parseRedisAddress(spec);
  const prefix = resolveResultPrefix(spec.transportOptions ?? {});
  const newLink = (purpose: string, more: Omit<LinkOptions, "purpose"> = {}): RedisLink =>
    new RedisLink(address, spec, deps, { purpose, ...more });
  return new RedisBackend(address, prefix, newLink, deps, DEADLINE_MS);
}
