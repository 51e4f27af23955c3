/** What the parts of the Redis broker share. */
import type { Clock, Random } from "../../shared/clock.ts";
import type { Logger } from "../../shared/log.ts";
import type { Shard } from "../../stores/redis/keys.ts";
import type { LinkOptions, RedisLink } from "../../stores/redis/link.ts";
import type { BrokerOptions, ReplicaOptions } from "../../stores/redis/options.ts";
import type { DeadLetterCaps } from "../broker.ts";

export interface RedisContext {
  /** Without credentials. */
  readonly location: string;
  readonly db: number;
  readonly shard: Shard & Pick<BrokerOptions, "separator">;
  readonly options: BrokerOptions;
  /** What must have reached them counts as held only then; undefined: replication is not waited for. */
  readonly replicas: ReplicaOptions | undefined;
  /** The connection of reserve, settle, leases and everything asked for by hand. Its order of commands is relied upon. */
  readonly commands: RedisLink;
  /** Makes another link to the same place. */
  readonly newLink: (purpose: string, options?: Omit<LinkOptions, "purpose">) => RedisLink;
  /** Ends what all links share, when they are closed. */
  readonly closeShared: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly leaseMs: number;
  readonly deadLetterCaps: DeadLetterCaps;
}

/** For so long a worker that does not renew its lease can still be told that its loans were taken away. */
export const SWEPT_MARK_MS = 3_600_000;

/** Lets the event loop turn once: what has arrived is read, what was answered goes on. */
export const turn = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve));
