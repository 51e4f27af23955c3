/**
 * Says to which server the next connection goes. All connections of one broker or backend ask the same resolver, so that they
 * agree: a worker that waited for messages on one server and settled on another would lose both.
 */
import type { Clock, Random } from "../../shared/clock.ts";
import type { RedisAddress } from "./address.ts";
import type { askOnce } from "./connection.ts";
import { RedisGoneError, RedisRefusedError } from "./errors.ts";
import { askForMaster } from "./sentinel.ts";
import type { RedisRoute } from "./target.ts";

export interface Resolver {
  /** @throws RedisGoneError when nobody can say now, RedisRefusedError when nobody ever will */
  resolve(signal: AbortSignal): Promise<RedisAddress>;
  /** That answer was of no use. */
  failed(address: RedisAddress): void;
}

export interface ResolverDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly ask: typeof askOnce;
}

export function makeResolver(route: RedisRoute, deps: ResolverDeps): Resolver {
  if (route.kind === "servers") return new ServerList(route.servers, route.order, deps.random);
  const { sentinels, master, masterName } = route;
  return {
    failed: () => undefined,
    resolve: async (signal) => {
      const server = await askForMaster(route, deps, signal);
      const names = sentinels.map(({ location }) => location).join(", ");
      if (server === undefined)
        throw new RedisGoneError(`no sentinel knows a master named ${masterName} that is up: ${names}`, { sent: false });
      const host = server.host.includes(":") ? `[${server.host}]` : server.host;
      return { ...master, server, location: `${master.tls ? "rediss" : "redis"}://${host}:${server.port}/${master.db}` };
    },
  };
}

/** One server, or kombu's failover: the one that worked last is tried first, and after it the next. */
class ServerList implements Resolver {
  readonly #servers: readonly RedisAddress[];
  readonly #order: "round-robin" | "shuffle";
  readonly #random: Random;
  #at = 0;

  constructor(servers: readonly RedisAddress[], order: "round-robin" | "shuffle", random: Random) {
    if (servers.length === 0) throw new RedisRefusedError("no server is named");
    this.#servers = servers;
    this.#order = order;
    this.#random = random;
  }

  async resolve(): Promise<RedisAddress> {
    return this.#servers[this.#at] as RedisAddress;
  }

  failed(address: RedisAddress): void {
    if (address !== this.#servers[this.#at]) return; // another connection has said so already
    const count = this.#servers.length;
    // Shuffled: any other one. Never the same again while there are others, as kombu may.
    const step = this.#order === "shuffle" && count > 1 ? 1 + Math.floor(this.#random() * (count - 1)) : 1;
    this.#at = (this.#at + step) % count;
  }
}
