/**
 * From settings to open connections. What to connect to is plain data (`BrokerSpec`, `BackendSpec`) that can be handed
 * to another thread, which then opens a connection of its own. Drivers are loaded when they are needed.
 */
import { resolve } from "node:path";
import type { Broker } from "../brokers/broker.ts";
import type { MemorySpec } from "../brokers/memory/spec.ts";
import type { ResultBackend } from "../results/result-backend.ts";
import type { Clock, Random } from "../shared/clock.ts";
import { parseDuration } from "../shared/duration.ts";
import type { Logger } from "../shared/log.ts";
import type { RedisSpec } from "../stores/redis/spec.ts";
import type { SqliteSpec } from "../stores/sqlite/spec.ts";
import { ConfigurationError } from "./errors.ts";
import { maskUrl } from "./secrets.ts";
import type { Settings } from "./settings.ts";

/** What drivers are handed to see time, chance and the log. */
export interface ConnectDeps {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: Random;
}

/** What a broker is opened from. Structured-cloneable; may hold a password: never log it. */
export type BrokerSpec = ConnectionSpec;
/** What a result backend is opened from. The same forms, because a store can be both at once. */
export type BackendSpec = ConnectionSpec;
export type ConnectionSpec = (RedisSpec & { readonly kind: "redis" }) | SqliteSpec | MemorySpec;

/** The embedded database; made when the first message is published. */
export interface EmbeddedStore {
  /** Absolute. */
  readonly file: string;
  /** Relative paths in URLs start here. */
  readonly root: string;
}

type Part = "read" | "write";

/**
 * What to open for messages; the embedded store when no URL is configured.
 * @param part whether it is to consume from or to publish to, where the two differ
 * @throws ConfigurationError
 */
export function brokerSpec(settings: Settings, embedded: EmbeddedStore, part: Part = "write"): BrokerSpec {
  const configured = (part === "read" ? settings.brokerReadUrl : settings.brokerWriteUrl) ?? settings.brokerUrl;
  const options = settings.brokerTransportOptions;
  const caps = {
    deadLetterMax: settings.deadLetterMax,
    deadLetterMaxBytes: settings.deadLetterMaxBytes ?? undefined,
    deadLetterMaxAgeMs: settings.deadLetterMaxAgeMs ?? undefined,
    revocationsMax: settings.revocationsMax,
    revocationTtlMs: settings.revocationTtlMs,
  };
  if (configured === null) return { ...sqlite(embedded.file, options), ...caps };
  const spec = specOf(configured, "CELERY_BROKER_URL (brokerUrl)", embedded.root, options, {
    tls: settings.brokerUseSsl,
    connectTimeoutMs: settings.brokerConnectionTimeoutMs,
    failoverStrategy: settings.brokerFailoverStrategy,
    retryFirstMs: settings.brokerConnectionRetryIntervalMs,
    retryMax: settings.brokerConnectionRetry ? (settings.brokerConnectionMaxRetries ?? undefined) : 0,
    publishTimeoutMs: settings.publishTimeoutMs,
    leaseMs: settings.leaseTimeMs,
    clientName: settings.redisClientName ?? undefined,
  });
  return { ...spec, ...caps };
}

/** What to open for results; undefined when none are kept. With the embedded broker, its own file is the default. */
export function backendSpec(settings: Settings, embedded: EmbeddedStore): BackendSpec | undefined {
  const options = settings.resultBackendTransportOptions;
  const configured = settings.resultBackend;
  if (configured === null) return settings.brokerUrl === null ? sqlite(embedded.file, options) : undefined;
  if (/^(?:disabled|none)\b/i.test(configured)) return undefined;
  const url =
    configured === "redis"
      ? `redis://${settings.redisHost ?? "127.0.0.1"}:${settings.redisPort ?? 6379}/${settings.redisDb ?? 0}`
      : configured;
  return specOf(url, "CELERY_RESULT_BACKEND (resultBackend)", embedded.root, options, {
    tls: settings.redisBackendUseSsl,
    username: settings.redisUsername ?? undefined,
    password: settings.redisPassword ?? undefined,
    connectTimeoutMs: settings.redisSocketConnectTimeoutMs ?? undefined,
    socketTimeoutMs: settings.redisSocketTimeoutMs,
    clientName: settings.redisClientName ?? undefined,
    keepalive: settings.redisSocketKeepalive,
  });
}

export async function connectBroker(spec: BrokerSpec, deps: ConnectDeps): Promise<Broker> {
  if (spec.kind === "redis") return (await import("../brokers/redis/index.ts")).openRedisBroker(spec, deps);
  if (spec.kind === "sqlite") return (await import("../brokers/sqlite/index.ts")).openSqliteBroker(spec, deps);
  return (await import("../brokers/memory/index.ts")).openMemoryBroker(spec, deps);
}

export async function connectBackend(spec: BackendSpec, deps: ConnectDeps): Promise<ResultBackend> {
  if (spec.kind === "redis") return (await import("../results/redis/index.ts")).openRedisBackend(spec, deps);
  if (spec.kind === "sqlite") return (await import("../results/sqlite/index.ts")).openSqliteBackend(spec, deps);
  return (await import("../results/memory/index.ts")).openMemoryBackend(spec, deps);
}

/** Where a spec leads, without its password: for reports. */
export function specLocation(spec: ConnectionSpec): string {
  if (spec.kind === "redis") return maskUrl(spec.url);
  return spec.kind === "sqlite" ? `sqlite://${spec.path}` : `memory://${spec.name}`;
}

type Options = Readonly<Record<string, unknown>>;
type RedisExtras = Omit<RedisSpec, "url" | "transportOptions">;

function specOf(written: string, setting: string, root: string, options: Options, redis: RedisExtras): ConnectionSpec {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(written)?.[1]?.toLowerCase();
  switch (scheme) {
    case "redis":
    case "rediss":
    case "redis+socket":
    case "socket":
    case "sentinel":
      return { kind: "redis", url: written, transportOptions: options, ...redis };
    case "sqlite": {
      const [path = "", query = ""] = written.slice("sqlite:".length).split("?");
      const fromQuery = Object.fromEntries(new URLSearchParams(query));
      return sqlite(
        resolve(
          root,
          decodeURI(path)
            .replace(/^\/\//, "")
            .replace(/^\/{2,}/, "/"),
        ),
        { ...options, ...fromQuery },
      );
    }
    case "memory":
      return { kind: "memory", name: written.slice("memory:".length).replace(/^\/\//, "") || "default" };
    case undefined:
    default:
      throw new ConfigurationError(
        `${setting} is ${maskUrl(written)}, whose scheme is not known. Known are redis://, rediss://, redis+socket://, sentinel://, sqlite:// and memory://`,
      );
  }
}

/** Options of the embedded store: synchronous and timeout (a duration). */
function sqlite(path: string, options: Options): SqliteSpec {
  return {
    kind: "sqlite",
    path,
    synchronous: /^full$/i.test(String(options["synchronous"])) ? "FULL" : "NORMAL",
    timeoutMs: parseDuration(options["timeout"]) ?? 5000,
  };
}
