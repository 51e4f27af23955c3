/** Opens the Redis broker. */
import type { Clock, Random } from "../../shared/clock.ts";
import type { Logger } from "../../shared/log.ts";
import { type LinkOptions, RedisLink } from "../../stores/redis/link.ts";
import { resolveBrokerOptions, resolveReplicaOptions } from "../../stores/redis/options.ts";
import type { RedisSpec } from "../../stores/redis/spec.ts";
import { RedisSupervisor } from "../../stores/redis/supervisor.ts";
import { parseRedisTarget } from "../../stores/redis/target.ts";
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
const CONNECT_TIMEOUT_MS = 4000;
/**
 * A command that has no answer for so long, while nothing else is answered either, means a broken connection: soon enough that a
 * lease is renewed over the next one, and that a publish is tried again before its deadline.
 */
const SILENCE_MS = 2500;
const SILENCE_MIN_MS = 1000;

/**
 * Connects when it is first used, not now.
 * @throws RedisConfigurationError for a URL or an option that cannot be used.
 */
export async function openRedisBroker(spec: RedisSpec, deps: RedisDeps): Promise<Broker> {
  const target = parseRedisTarget(spec);
  const options = resolveBrokerOptions(spec.transportOptions ?? {}, target.db);
  const supervisor = new RedisSupervisor(target, spec, deps);
  const leaseMs = spec.leaseMs ?? LEASE_MS;
  const publishTimeoutMs = spec.publishTimeoutMs ?? PUBLISH_TIMEOUT_MS;
  const limits = {
    connectTimeoutMs: spec.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    socketTimeoutMs: Math.min(spec.socketTimeoutMs ?? SILENCE_MS, Math.max(SILENCE_MIN_MS, Math.min(SILENCE_MS, leaseMs / 4))),
  };
  const newLink = (purpose: string, more: Omit<LinkOptions, "purpose"> = {}): RedisLink =>
    new RedisLink(supervisor, limits, deps, { purpose, ...more });
  const context = {
    ...deps,
    location: target.location,
    db: target.db,
    options,
    replicas: resolveReplicaOptions(spec.transportOptions ?? {}),
    shard: { prefix: options.keyPrefix, separator: options.separator },
    commands: newLink("commands", { triesMax: spec.retryMax }),
    newLink,
    closeShared: () => supervisor.close(),
    leaseMs,
    deadLetterCaps: deadLetterCaps(spec),
  };
  return new RedisBroker(context, target, { publishTimeoutMs, revocationCaps: revocationCaps(spec) });
}
