/**
 * Parses the URLs that kombu takes for Redis. After celery-protocol.md, section 3.7.
 *
 *   redis://[user:pass@]host[:port][/db]        rediss://… with TLS; query ssl_cert_reqs, ssl_ca_certs, ssl_certfile, …
 *   redis+socket://[:pass@]/path/to.sock?virtual_host=1        also socket://, as result backends name it
 */
import type { RedisSpec, RedisTlsSpec } from "./spec.ts";
import { RedisConfigurationError } from "./errors.ts";

export interface RedisAddress {
  readonly server: { readonly host: string; readonly port: number } | { readonly path: string };
  readonly db: number;
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** Undefined: no TLS. */
  readonly tls: RedisTlsSpec | undefined;
  /** For messages and logs, without credentials. */
  readonly location: string;
}

const DEFAULT_PORT = 6379;

/** @throws RedisConfigurationError that names the part, never the credentials. */
export function parseRedisAddress(
  spec: Pick<RedisSpec, "url" | "tls" | "username" | "password" | "transportOptions">,
  defaultPort = DEFAULT_PORT,
): RedisAddress {
  const match = /^([a-z][a-z0-9+.-]*):(?:\/\/)?(.*)$/is.exec(spec.url.trim());
  const scheme = match?.[1]?.toLowerCase();
  const rest = match?.[2] ?? "";
  switch (scheme) {
    case "redis":
    case "rediss":
      return parseTcp(rest, scheme, spec, defaultPort);
    case "redis+socket":
    case "redis+unix":
    case "socket":
    case "unix":
      return parseSocket(rest, spec);
    default:
      throw new RedisConfigurationError(
        `a Redis URL begins with redis://, rediss://, redis+socket:// or sentinel://, not ${scheme ? `${scheme}://` : "what was given"}`,
      );
  }
}

function parseTcp(
  rest: string,
  scheme: "redis" | "rediss",
  spec: Pick<RedisSpec, "tls" | "username" | "password" | "transportOptions">,
  defaultPort: number,
): RedisAddress {
  const { authority, path, query } = split(rest);
  const { username, password, host: hostAndPort } = credentials(authority, query, spec);
  const match = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(hostAndPort);
  if (!match) throw new RedisConfigurationError(`the Redis URL has no valid host and port: "${hostAndPort}"`);
  const host = decode(match[1] ?? "", "host").replace(/^\[|\]$/g, "") || "127.0.0.1";
  const port = match[2] ? Number(match[2]) : defaultPort;
  if (port < 1 || port > 65_535) throw new RedisConfigurationError(`the port of the Redis URL is ${port}; it is between 1 and 65535`);
  const db = parseDb(path.replace(/^\/+/, "") || query.get("virtual_host") || query.get("db") || virtualHost(spec), "path");
  const tls = scheme === "rediss" ? { ...queryTls(query), ...spec.tls } : (spec.tls ?? undefined);
  const shownHost = host.includes(":") ? `[${host}]` : host;
  return { server: { host, port }, db, username, password, tls, location: `${tls ? "rediss" : "redis"}://${shownHost}:${port}/${db}` };
}

function parseSocket(rest: string, spec: Pick<RedisSpec, "username" | "password" | "transportOptions">): RedisAddress {
  const { authority, path, query } = split(rest);
  const { username, password, host } = credentials(authority, query, spec);
  const socket = decode(host + path, "socket path");
  if (socket === "" || socket === "/")
    throw new RedisConfigurationError("the Redis URL names no socket: redis+socket:///path/to/redis.sock");
  const db = parseDb(query.get("virtual_host") ?? query.get("db") ?? virtualHost(spec), "virtual_host");
  return { server: { path: socket }, db, username, password, tls: undefined, location: `redis+socket://${socket}?virtual_host=${db}` };
}

/** Not `URL`: it refuses what kombu accepts, such as `redis+socket://:pass@/path` and `redis://:p#w@host`. */
function split(rest: string): { authority: string; path: string; query: URLSearchParams } {
  const [main = "", ...queries] = rest.split("?");
  const at = main.lastIndexOf("@");
  const slash = main.indexOf("/", at + 1);
  return {
    authority: slash === -1 ? main : main.slice(0, slash),
    path: slash === -1 ? "" : main.slice(slash),
    query: new URLSearchParams(queries.join("?")),
  };
}

function credentials(
  authority: string,
  query: URLSearchParams,
  spec: Pick<RedisSpec, "username" | "password">,
): { username: string | undefined; password: string | undefined; host: string } {
  const at = authority.lastIndexOf("@");
  const [user = "", ...password] = at === -1 ? [""] : authority.slice(0, at).split(":");
  return {
    username: decode(user, "user name") || query.get("username") || spec.username || undefined,
    password: decode(password.join(":"), "password") || query.get("password") || spec.password || undefined,
    host: authority.slice(at + 1),
  };
}

function decode(text: string, part: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new RedisConfigurationError(`the ${part} in the Redis URL has a % that is not followed by two hex digits: write a bare % as %25`);
  }
}

function parseDb(text: string | null | undefined, part: string): number {
  if (text === null || text === undefined || text === "") return 0;
  if (!/^\/?\d{1,9}$/.test(text))
    throw new RedisConfigurationError(`the ${part} of the Redis URL is "${text}"; a database is a whole number, as in redis://host:6379/0`);
  return Number(text.replace("/", ""));
}

function virtualHost(spec: Pick<RedisSpec, "transportOptions">): string | undefined {
  const value = spec.transportOptions?.["virtual_host"] ?? spec.transportOptions?.["virtualHost"];
  return typeof value === "number" || typeof value === "string" ? String(value) : undefined;
}

/** Unlike kombu, which checks no certificate unless told to, we check it unless told not to. */
function queryTls(query: URLSearchParams): RedisTlsSpec {
  const required = query.get("ssl_cert_reqs");
  const checksHost = query.get("ssl_check_hostname");
  const optional = (name: string, key: keyof RedisTlsSpec): RedisTlsSpec => {
    const value = query.get(name);
    return value === null ? {} : { [key]: value };
  };
  return {
    ...optional("ssl_ca_certs", "ca"),
    ...optional("ssl_certfile", "cert"),
    ...optional("ssl_keyfile", "key"),
    ...(required === null ? {} : { rejectUnauthorized: !/^(cert_)?none$/i.test(required) }),
    ...(checksHost === null ? {} : { checkHostname: !/^(false|0|no|off)$/i.test(checksHost) }),
  };
}
