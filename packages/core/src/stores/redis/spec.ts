/**
 * Where a Redis is and how to speak to it: plain data, so that another thread can open its own connections from it.
 * `address.ts` and `options.ts` check and resolve it.
 */
export interface RedisSpec {
  /** `redis://`, `rediss://`, `redis+socket://`, `socket://`, or several joined with `;`, or `sentinel://…;sentinel://…`. Holds credentials: never log it. */
  readonly url: string;
  /** Which of several servers is tried after one that fails. Default `round-robin`. */
  readonly failoverStrategy?: "round-robin" | "shuffle" | undefined;
  /** kombu's transport options, in its spelling (`global_keyprefix`) or in camelCase (`globalKeyprefix`), durations in seconds. */
  readonly transportOptions?: Readonly<Record<string, unknown>>;
  /** Wins over what the URL's query says. `null`: as the URL says. */
  readonly tls?: RedisTlsSpec | null | undefined;
  /** Used where the URL names none. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Until the connection stands and the server has greeted. Default 4,000. */
  readonly connectTimeoutMs?: number | undefined;
  /** A command that is not answered for so long means a broken connection. Default 10,000. */
  readonly socketTimeoutMs?: number | null | undefined;
  /** The longest first pause after a failed try to connect; it doubles up to the longest. Default 100. */
  readonly retryFirstMs?: number | undefined;
  /** Failed tries in a row after which a consumer gives up. Default: never. */
  readonly retryMax?: number | undefined;
  /** TCP keepalive. Default true. */
  readonly keepalive?: boolean | undefined;
  /** Shown in CLIENT LIST. */
  readonly clientName?: string | undefined;
  /** Broker: `publish` gives up after so long when its caller gives no signal. Default 5,000. */
  readonly publishTimeoutMs?: number | undefined;
  /** Broker: how long a worker's first lease lasts, until its guard renews it. Default 10,000. */
  readonly leaseMs?: number | undefined;
  /** Broker: how many dead letters a queue keeps; the oldest make room. Default 10,000. */
  readonly deadLetterMax?: number | undefined;
  /** Broker: bytes of them that a queue keeps. Default: no limit. */
  readonly deadLetterMaxBytes?: number | undefined;
  /** Broker: how old they may be. Default: no limit. */
  readonly deadLetterMaxAgeMs?: number | undefined;
  /** Broker: how many revoked tasks are remembered; the oldest make room. Default 1,000,000. */
  readonly revocationsMax?: number | undefined;
  /** Broker: how long they are remembered. Default: a week. */
  readonly revocationTtlMs?: number | undefined;
}

/** Certificates and keys are file names, or PEM texts. */
export interface RedisTlsSpec {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly servername?: string | undefined;
  /** Default true: the server's certificate is checked. */
  readonly rejectUnauthorized?: boolean | undefined;
  /** Default true: the certificate must name the host. */
  readonly checkHostname?: boolean | undefined;
}
