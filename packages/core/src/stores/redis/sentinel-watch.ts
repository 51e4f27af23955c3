/**
 * Hears from sentinels that another server has become the master. The old one may live on for seconds and take what it is given (after
 * an orderly failover sentinels demote it after 8 s): what is written there is lost, so that its connections must not wait to be closed.
 */
import type { Clock, Random } from "../../shared/clock.ts";
import type { Logger } from "../../shared/log.ts";
import type { RedisAddress } from "./address.ts";
import { RedisLink } from "./link.ts";
import type { MasterPlace } from "./sentinel.ts";
import { Subscriber } from "./subscriber.ts";
import { RedisSupervisor } from "./supervisor.ts";
import type { RedisRoute } from "./target.ts";

/** Connections to sentinels of one broker or backend. */
const HEARD_MAX = 3;
const CHANNEL = "+switch-master";

export interface SentinelWatchDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface SentinelWatchEvents {
  switched(master: MasterPlace): void;
  /** A sentinel is heard from now on: what it said before was missed. */
  missed(): void;
}

export class SentinelWatch {
  readonly #subscribers: readonly Subscriber[];

  constructor(route: Extract<RedisRoute, { kind: "sentinel" }>, deps: SentinelWatchDeps, events: SentinelWatchEvents) {
    this.#subscribers = route.sentinels.slice(0, HEARD_MAX).map((sentinel) => {
      const hear = {
        message: (_name: string, _channel: string, payload: Buffer): void => {
          const [name, , , host, port] = payload.toString().split(" ");
          if (name === route.masterName && host !== undefined && port !== undefined) events.switched({ host, port: Number(port) });
        },
        subscribed: (): void => events.missed(),
      };
      const subscriber = new Subscriber("channels", hear, deps.clock, (onOpen) => linkTo(sentinel, route.askMs, deps, onOpen));
      subscriber.add(CHANNEL);
      return subscriber;
    });
  }

  close(): void {
    for (const subscriber of this.#subscribers) subscriber.close();
  }
}

function linkTo(
  sentinel: RedisAddress,
  askMs: number,
  deps: SentinelWatchDeps,
  onOpen: ConstructorParameters<typeof RedisLink>[3]["onOpen"] & {},
): RedisLink {
  const target = { db: 0, location: sentinel.location, route: { kind: "servers", servers: [sentinel], order: "round-robin" } } as const;
  const limits = { connectTimeoutMs: askMs, socketTimeoutMs: 2 * askMs };
  const quiet = { ...deps, logger: atDebug(deps.logger) }; // one of several: the supervisor of the data connections says what matters
  const supervisor = new RedisSupervisor(target, { url: "" }, quiet);
  return new RedisLink(supervisor, limits, quiet, { purpose: "hear sentinels", onOpen, eager: true, protocol: 2 });
}

function atDebug(logger: Logger): Logger {
  const debug: Logger["debug"] = (fields, message) => logger.debug(fields, message);
  return { debug, info: debug, warn: debug, error: debug, child: (fields) => atDebug(logger.child(fields)) };
}
