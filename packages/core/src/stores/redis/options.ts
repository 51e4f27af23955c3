/**
 * kombu's transport options for Redis, checked and resolved once. After celery-protocol.md, sections 3.1 and 3.7.
 * Options that only steer kombu's own machinery are accepted and have no effect here.
 */
import { RedisConfigurationError } from "./errors.ts";
import type { RedisTlsSpec } from "./spec.ts";

export interface BrokerOptions {
  /** In front of every key and channel, verbatim. */
  readonly keyPrefix: string;
  /** Between a queue's name and its priority step, and between the fields of a binding. */
  readonly separator: string;
  /** Ascending; 0 is served first. */
  readonly prioritySteps: readonly number[];
  readonly queueOrder: "round_robin" | "priority" | "sorted";
  /** In front of a fanout exchange's name; `{db}` already filled in. */
  readonly fanoutPrefix: string;
  /** Whether channels carry the routing key. */
  readonly fanoutPatterns: boolean;
  readonly visibilityTimeoutMs: number;
  /** Where messages go that no binding of their exchange takes; undefined refuses them. */
  readonly unroutedQueue: string | undefined;
  readonly unackedKey: string;
  readonly unackedIndexKey: string;
  readonly unackedMutexKey: string;
  readonly unackedMutexExpireMs: number;
}

type Options = Readonly<Record<string, unknown>>;

const DEFAULT_VISIBILITY_TIMEOUT_S = 3600;
const DEFAULT_SEPARATOR = "\u0006\u0016";

/** @throws RedisConfigurationError that names the option, the value and what is accepted. */
export function resolveBrokerOptions(options: Options, db: number): BrokerOptions {
  const read = reader(options);
  const order = read<BrokerOptions["queueOrder"]>(
    "queue_order_strategy",
    "round_robin",
    oneOf("round_robin", "priority", "sorted"),
    "round_robin, priority or sorted",
  );
  const fanoutPrefix = read<boolean | string>(
    "fanout_prefix",
    true,
    (value) => typeof value === "boolean" || typeof value === "string",
    "true, false or a text",
  );
  return {
    keyPrefix: read("global_keyprefix", "", isText, "a text"),
    separator: read("sep", DEFAULT_SEPARATOR, (value) => isText(value) && value !== "", "a text that is not empty"),
    prioritySteps: read("priority_steps", [0, 3, 6, 9], isSteps, "a list of whole numbers from 0 to 255, such as [0, 3, 6, 9]").toSorted(
      (a, b) => a - b,
    ),
    queueOrder: order,
    fanoutPrefix: typeof fanoutPrefix === "string" ? fanoutPrefix.replaceAll("{db}", String(db)) : fanoutPrefix ? `/${db}.` : "",
    fanoutPatterns: read("fanout_patterns", true, (value) => typeof value === "boolean", "true or false"),
    visibilityTimeoutMs:
      1000 * read("visibility_timeout", DEFAULT_VISIBILITY_TIMEOUT_S, isPositiveInteger, "a whole number of seconds above 0"),
    unroutedQueue: read<string | undefined>("deadletter_queue", undefined, isText, "a queue's name"),
    unackedKey: read("unacked_key", "unacked", isText, "a text"),
    unackedIndexKey: read("unacked_index_key", "unacked_index", isText, "a text"),
    unackedMutexKey: read("unacked_mutex_key", "unacked_mutex", isText, "a text"),
    unackedMutexExpireMs: 1000 * read("unacked_mutex_expire", 300, isPositiveInteger, "a whole number of seconds above 0"),
  };
}

/** The result backend's prefix: unlike the broker's it gets a `_` unless it ends with one of `: _ - .` (section 6.2). */
export function resolveResultPrefix(options: Options): string {
  const prefix = reader(options)<string>("global_keyprefix", "", isText, "a text");
  return prefix === "" || /[:_.-]$/.test(prefix) ? prefix : `${prefix}_`;
}

export interface SentinelOptions {
  readonly masterName: string;
  readonly minOtherSentinels: number;
  /** For an answer of a sentinel. */
  readonly askMs: number;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly tls: RedisTlsSpec | undefined;
}

const SENTINEL_ASK_S = 1;

/** `sentinel_kwargs` are redis-py's: password, username, ssl, ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_cert_reqs, ssl_check_hostname, socket_timeout. */
export function resolveSentinelOptions(options: Options): SentinelOptions {
  const read = reader(options);
  const masterName = read<string | undefined>("master_name", undefined, (value) => isText(value) && value !== "", "a text");
  if (masterName === undefined)
    throw new RedisConfigurationError(
      "sentinel:// needs the transport option master_name: the name under which the sentinels watch the master",
    );
  const own = reader(read<Options>("sentinel_kwargs", {}, isOptions, "an object, such as { password: ... }"), "sentinel_kwargs.");
  const text = (name: string): string | undefined => own<string | undefined>(name, undefined, isText, "a text");
  const isTrueOrFalse = (value: unknown): boolean => typeof value === "boolean";
  return {
    masterName,
    minOtherSentinels: read("min_other_sentinels", 0, (value) => value === 0 || isPositiveInteger(value), "a whole number from 0"),
    askMs: 1000 * own("socket_timeout", SENTINEL_ASK_S, (value) => typeof value === "number" && value > 0, "a number of seconds above 0"),
    username: text("username"),
    password: text("password"),
    tls: own("ssl", false, isTrueOrFalse, "true or false")
      ? {
          ca: text("ssl_ca_certs"),
          cert: text("ssl_certfile"),
          key: text("ssl_keyfile"),
          rejectUnauthorized: !/^(cert_)?none$/i.test(text("ssl_cert_reqs") ?? ""),
          checkHostname: own("ssl_check_hostname", true, isTrueOrFalse, "true or false"),
        }
      : undefined,
  };
}

/** How many replicas must have what is written before it counts as held; undefined: none, replication is asynchronous. */
export interface ReplicaOptions {
  readonly count: number;
  /** For one look whether they have it. */
  readonly waitMs: number;
}

const WAIT_S = 0.5;

/** Ours: `wait_replicas`, and `wait_replicas_timeout` in seconds. */
export function resolveReplicaOptions(options: Options): ReplicaOptions | undefined {
  const read = reader(options);
  const count = read("wait_replicas", 0, (value) => value === 0 || isPositiveInteger(value), "a whole number from 0");
  const seconds = read("wait_replicas_timeout", WAIT_S, (value) => typeof value === "number" && value > 0, "a number of seconds above 0");
  return count === 0 ? undefined : { count, waitMs: Math.ceil(seconds * 1000) };
}

type Reader = <T>(name: string, byDefault: T, accepts: (value: unknown) => boolean, accepted: string) => T;

/** Reads `global_keyprefix` under that name and as `globalKeyprefix`. */
function reader(options: Options, where = ""): Reader {
  const byPlainName = new Map(Object.entries(options).map(([name, value]) => [plain(name), value]));
  return <T>(name: string, byDefault: T, accepts: (value: unknown) => boolean, accepted: string): T => {
    const value = byPlainName.get(plain(name));
    if (value === undefined || value === null) return byDefault;
    if (!accepts(value)) {
      const shown = name === "password" ? "not accepted" : JSON.stringify(value);
      throw new RedisConfigurationError(`the transport option ${where}${name} is ${shown}; it is ${accepted}`);
    }
    return value as T; // `accepts` has checked it
  };
}

const plain = (name: string): string => name.replaceAll("_", "").toLowerCase();
const isText = (value: unknown): boolean => typeof value === "string";
const isOptions = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value);
const isPositiveInteger = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) > 0;
const oneOf =
  (...names: readonly string[]) =>
  (value: unknown): boolean =>
    names.includes(value as string);
const isSteps = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.length <= 256 &&
  new Set(value).size === value.length &&
  value.every((step) => Number.isInteger(step) && step >= 0 && step <= 255);
