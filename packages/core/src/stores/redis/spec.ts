/**
 * Where a Redis is and how to speak to it: plain data, so that another thread can open its own connections from it.
 * Transport options keep kombu's names and units (seconds); `options.ts` checks and resolves them.
 */
export interface RedisSpec {
  /** `redis://`, `rediss://`, `redis+socket://`, or (results only) `socket://`. Holds credentials: never log it. */
  readonly url: string;
  /** kombu's transport options by their own names, e.g. `global_keyprefix`, `priority_steps`, `visibility_timeout`. */
  readonly transportOptions?: Readonly<Record<string, unknown>>;
  /** Given as a setting, it wins over what the URL's query says. `true`: TLS with the system's certificates. */
  readonly tls?: boolean | RedisTlsSpec;
  /** Win over what the URL says. */
  readonly username?: string;
  readonly password?: string;
  /** Until the TCP or TLS connection stands and the server has greeted. Default 5,000. */
  readonly connectTimeoutMs?: number;
  /** A command not answered for so long means a broken connection. Default 10,000. */
  readonly socketTimeoutMs?: number;
  /** TCP keepalive on idle connections. Default true. */
  readonly keepalive?: boolean;
  /** RESP version. Default 3, with 2 where the server does not know HELLO. */
  readonly protocol?: 2 | 3;
  /** Broker: how many dead letters a queue keeps; the oldest make room. Default 10,000. */
  readonly deadLetterMax?: number;
  /** Broker: a retry after a dropped connection can tell for so long whether the first sending arrived. Default 300,000. */
  readonly publishMemoryMs?: number;
}

/** File names, or the PEM texts themselves. */
export interface RedisTlsSpec {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** Default true. False accepts any certificate. */
  readonly verify?: boolean;
  /** Whether the certificate must name the host. Default true. */
  readonly checkHostname?: boolean;
  readonly servername?: string;
}
