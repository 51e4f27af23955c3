/** Opens the Redis broker. */
import type { Clock, Random } from "../../shared/clock.ts";
import type { Logger } from "../../shared/log.ts";
import { parseRedisAddress } from "../../stores/redis/address.ts";
import { type LinkOptions, RedisLink } from "../../stores/redis/link.ts";
import { resolveBrokerOptions } from "../../stores/redis/options.ts";
import type { RedisSpec } from "../../stores/redis/spec.ts";
import type { Broker } from "../broker.ts";
import { deadLetterCaps } from "../dead-letter-filter.ts";
import { revocationCaps } from "../revocation-caps.ts";
import { RedisBroker } from "./redis-broker.ts";

export interface RedisDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

const PUBLISH_TIMEOUT_MS = 5000;
const LEASE_MS = 10_000;

/**
 * Connects when it is first used, not now.
 * @throws RedisConfigurationError for a URL or an option that cannot be used.
 */
export async function openRedisBroker(spec: RedisSpec, deps: RedisDeps): Promise<Broker> {
  const address = parseRedisAddress(spec);
  const options = resolveBrokerOptions(spec.transportOptions ?? {}, address.db);
  if (spec.failoverUrls?.length)
    deps.logger.warn(
      { used: address.location },
      "several broker URLs were given: failing over between them is not supported yet, only the first is used",
    );
  const newLink = (purpose: string, more: Omit<LinkOptions, "purpose"> = {}): RedisLink =>
    new RedisLink(address, spec, deps, { purpose, ...more });
  const context = {
    ...deps,
    location: address.location,
    db: address.db,
    options,
    shard: { prefix: options.keyPrefix, separator: options.separator },
    commands: newLink("commands"),
    newLink,
    leaseMs: spec.leaseMs ?? LEASE_MS,
    deadLetterCaps: deadLetterCaps(spec),
  };
  const publishTimeoutMs = spec.publishTimeoutMs ?? PUBLISH_TIMEOUT_MS;
  return new RedisBroker(context, address, { publishTimeoutMs, revocationCaps: revocationCaps(spec) });
}
