/**
 * Keeps one connection to a Redis open for as long as someone wants it: connects when first asked, and again whenever it
 * breaks. `supervisor.ts` says where to and when.
 *
 * States: idle -> connecting -> open -> (broken) connecting ... -> closed. A server that refuses us before it ever let us in
 * is an error for whoever asked, and the link is idle again; one that refuses us later is tried on, as if it were away.
 */
import { type Clock, type Random, sleep } from "../../shared/clock.ts";
import type { Logger } from "../../shared/log.ts";
import { abortable } from "./abortable.ts";
import type { ConnectionLimits, RedisConnection } from "./connection.ts";
import { RedisClosedError } from "./errors.ts";
import type { Ramp } from "./ramp.ts";
import type { RedisSupervisor } from "./supervisor.ts";

export { abortable } from "./abortable.ts";

/** The longest pause before a broken connection is made anew; it doubles with each one that breaks at once. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2000;
/** One that lived so long did not break at once. */
const LIVED_MS = 1000;

export interface LinkDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface LinkOptions {
  /** For the log, and in CLIENT LIST: what the connection is for. */
  readonly purpose: string;
  /** Prepares each new connection before anybody else gets it. A failure here breaks the connection. */
  readonly onOpen?: (connection: RedisConnection) => Promise<void>;
  /** RESP version. Default 3, and 2 where the server does not know HELLO. */
  readonly protocol?: 2 | 3;
  /** Whether to reconnect at once after a break, and not only when somebody asks. Default false. */
  readonly eager?: boolean;
  /** Failed tries in a row after which whoever waits is told so. Default: none is too many. */
  readonly triesMax?: number | undefined;
}

export class RedisLink {
  readonly #supervisor: RedisSupervisor;
  readonly #deps: LinkDeps;
  readonly #limits: ConnectionLimits;
  readonly #options: LinkOptions;
  readonly #closing = new AbortController();
  #current: RedisConnection | undefined;
  #opening: Promise<RedisConnection> | undefined;
  #wasOpen = false;
  /** Connections in a row that could not be prepared, or broke as soon as they were open. */
  #shortLived = 0;
  #lastFailure: unknown;

  constructor(supervisor: RedisSupervisor, limits: ConnectionLimits, deps: LinkDeps, options: LinkOptions) {
    this.#supervisor = supervisor;
    this.#limits = limits;
    this.#deps = deps;
    this.#options = options;
  }

  /** The connection when it is open, else undefined. */
  get current(): RedisConnection | undefined {
    return this.#current?.isOpen ? this.#current : undefined;
  }

  /** Why the last try to connect failed. */
  get lastFailure(): unknown {
    return this.#supervisor.lastFailure ?? this.#lastFailure;
  }

  /** Passed by whoever sends much, while a server has just come back; undefined else. */
  get ramp(): Ramp | undefined {
    return this.#supervisor.ramp;
  }

  /**
   * Waits for an open connection.
   * @throws RedisRefusedError when the server never let us in, RedisGaveUpError, RedisClosedError when the link is closed, or the
   *   signal's reason.
   */
  async connection(signal?: AbortSignal): Promise<RedisConnection> {
    const open = this.current;
    if (open) return open;
    signal?.throwIfAborted();
    this.#opening ??= this.#open().finally(() => (this.#opening = undefined));
    return await abortable(this.#opening, signal);
  }

  close(): void {
    this.#closing.abort(new RedisClosedError(`the connections to ${this.#supervisor.target.location} were closed`));
    this.#current?.destroy();
  }

  async #open(): Promise<RedisConnection> {
    const { clock, random } = this.#deps;
    const { purpose, protocol = 3, onOpen, triesMax = Number.POSITIVE_INFINITY } = this.#options;
    const { signal } = this.#closing;
    for (;;) {
      // A server that has closed the connections of a whole fleet is not met by all of it at once.
      const pauseMs = this.#wasOpen ? Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(this.#shortLived, 16)) * random() : 0;
      if (pauseMs > 0) await sleep(clock, pauseMs, signal);
      const wanted = { purpose, protocol, limits: this.#limits, isFirst: !this.#wasOpen, triesMax };
      const connection = await this.#supervisor.open(wanted, signal);
      try {
        await onOpen?.(connection);
        signal.throwIfAborted();
      } catch (error) {
        connection.destroy();
        signal.throwIfAborted();
        this.#lastFailure = error;
        this.#wasOpen = true; // it let us in
        this.#shortLived += 1;
        continue;
      }
      return this.#opened(connection);
    }
  }

  #opened(connection: RedisConnection): RedisConnection {
    const openedAt = this.#deps.clock.monotonic();
    this.#current = connection;
    this.#wasOpen = true;
    this.#lastFailure = undefined;
    connection.closed.addEventListener("abort", () => this.#onClosed(openedAt), { once: true });
    return connection;
  }

  #onClosed(openedAt: number): void {
    if (this.#closing.signal.aborted) return;
    const { clock, logger } = this.#deps;
    this.#shortLived = clock.monotonic() - openedAt < LIVED_MS ? this.#shortLived + 1 : 0;
    logger.debug({ purpose: this.#options.purpose }, `the connection to ${this.#supervisor.target.location} ended`);
    if (this.#options.eager) this.connection().catch(() => undefined); // the failure is kept, and told to whoever asks
  }
}
