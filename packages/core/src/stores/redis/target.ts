/**
 * Where a connection may lead: one server, the first usable of several, or the master that sentinels know.
 *
 *   redis://a:6379/0;redis://b:6379/0                        a list: kombu's failover, tried in turn
 *   sentinel://[user:pass@]h1:26379/0;sentinel://h2:26379    with the transport option master_name, as Celery has it
 *
 * After kombu, transport/redis.py, `SentinelChannel`, and connection.py: credentials and database are those of the first URL, and
 * are the data server's; a sentinel's own are in `sentinel_kwargs`.
 */
import { parseRedisAddress, type RedisAddress } from "./address.ts";
import { RedisConfigurationError } from "./errors.ts";
import { resolveSentinelOptions } from "./options.ts";
import type { RedisSpec } from "./spec.ts";

export interface RedisTarget {
  readonly db: number;
  /** For messages and logs, without credentials. */
  readonly location: string;
  readonly route: RedisRoute;
  /** What its owner should know about how it is written. */
  readonly remark?: string;
}

export type RedisRoute =
  | { readonly kind: "servers"; readonly servers: readonly RedisAddress[]; readonly order: "round-robin" | "shuffle" }
  | {
      readonly kind: "sentinel";
      readonly sentinels: readonly RedisAddress[];
      readonly masterName: string;
      /** A sentinel that knows fewer others is not believed. */
      readonly minOtherSentinels: number;
      /** For an answer of a sentinel. */
      readonly askMs: number;
      /** What is the same whichever server is the master: its `server` is meaningless. */
      readonly master: RedisAddress;
    };

type TargetSpec = Pick<RedisSpec, "url" | "failoverStrategy" | "tls" | "username" | "password" | "transportOptions">;

/** @throws RedisConfigurationError that names the part, never the credentials. */
export function parseRedisTarget(spec: TargetSpec): RedisTarget {
  const urls = spec.url
    .split(";")
    .map((url) => url.trim())
    .filter((url) => url !== "");
  const [first = "", ...more] = urls;
  if (/^sentinel:/i.test(first)) return sentinelTarget(urls, spec);
  const servers = [first, ...more].map((url) => parseRedisAddress({ ...spec, url }));
  const dbs = new Set(servers.map(({ db }) => db));
  if (dbs.size > 1)
    throw new RedisConfigurationError(`the Redis URLs name different databases (${[...dbs].join(", ")}): all must name the same one`);
  return {
    db: (servers[0] as RedisAddress).db,
    location: servers.map(({ location }) => location).join(";"),
    route: { kind: "servers", servers, order: spec.failoverStrategy ?? "round-robin" },
  };
}

/** Whether a script on one can reach the other with SELECT: the same servers and the same user. */
export function sameTarget(one: RedisTarget, other: RedisTarget): boolean {
  return identity(one) === identity(other);
}

function identity({ route }: RedisTarget): string {
  const of = ({ server, username, password, tls }: RedisAddress): unknown => [
    server,
    username ?? "default",
    password ?? "",
    tls !== undefined,
  ];
  if (route.kind === "servers") return JSON.stringify(route.servers.map(of));
  const { sentinels, masterName, master } = route;
  const places = sentinels.map(({ location }) => location).toSorted();
  return JSON.stringify([places, masterName, master.username ?? "default", master.password ?? "", master.tls !== undefined]);
}

const SENTINEL_PORT = 26_379;

function sentinelTarget(urls: readonly string[], spec: TargetSpec): RedisTarget {
  const stranger = urls.find((url) => !/^sentinel:/i.test(url));
  if (stranger !== undefined)
    throw new RedisConfigurationError("a URL of sentinels names only sentinels: sentinel://host1:26379;sentinel://host2:26379");
  const options = resolveSentinelOptions(spec.transportOptions ?? {});
  const parsed = urls.map((url) => parseRedisAddress({ ...spec, url: url.replace(/^sentinel:/i, "redis:") }, SENTINEL_PORT));
  const master = parsed[0] as RedisAddress;
  const sentinels = parsed.map(({ server }): RedisAddress => {
    const { username, password, tls } = options;
    if ("path" in server) throw new RedisConfigurationError("a sentinel is named by host and port");
    const shown = server.host.includes(":") ? `[${server.host}]` : server.host;
    return { server, db: 0, username, password, tls, location: `sentinel://${shown}:${server.port}` };
  });
  const { masterName, minOtherSentinels, askMs } = options;
  const location = `${sentinels.map((each) => each.location).join(";")}/${master.db} (${masterName})`;
  const route: RedisRoute = { kind: "sentinel", sentinels, masterName, minOtherSentinels, askMs, master };
  const isAmbiguous = parsed.some(({ db }) => db !== master.db && db !== 0);
  if (!isAmbiguous) return { db: master.db, location, route };
  return { db: master.db, location, route, remark: `database ${master.db} is used: as in Celery, the first sentinel URL names it` };
}
