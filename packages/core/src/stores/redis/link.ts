/**
 * Keeps one connection to a Redis open for as long as someone wants it: connects when first asked, and again whenever it
 * breaks, with growing pauses of random length so that a fleet does not return all at once.
 *
 * States: idle -> connecting -> open -> (broken) connecting ... -> closed. A server that refuses us before it ever let us in
 * is an error for whoever asked, and the link is idle again; one that refuses us later is tried on, as if it were away.
 */
import { setMaxListeners } from "node:events";

import { type Clock, type Random, sleep } from "../../shared/clock.ts";
import type { Logger } from "../../shared/log.ts";
import type { RedisAddress } from "./address.ts";
import { RedisConnection } from "./connection.ts";
import { RedisClosedError, RedisRefusedError } from "./errors.ts";
import type { RedisSpec } from "./spec.ts";

const FIRST_PAUSE_MS = 50;
/** Workers are back within 5 s of their broker's return: pause, connect and read must fit in. */
const LONGEST_PAUSE_MS = 2000;

export interface LinkDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface LinkOptions {
  /** For the log: what the connection is for. */
  readonly purpose: string;
  /** Prepares each new connection before anybody else gets it. A failure here breaks the connection. */
  readonly onOpen?: (connection: RedisConnection) => Promise<void>;
  /** RESP version. Default 3, and 2 where the server does not know HELLO. */
  readonly protocol?: 2 | 3;
  /** Whether to reconnect at once after a break, and not only when somebody asks. Default false. */
  readonly eager?: boolean;
}

export class RedisLink {
  readonly address: RedisAddress;
  readonly #spec: RedisSpec;
  readonly #deps: LinkDeps;
  readonly #options: LinkOptions;
  readonly #closing = new AbortController();
  #current: RedisConnection | undefined;
  #opening: Promise<RedisConnection> | undefined;
  #wasOpen = false;
  #lastFailure: unknown;

  constructor(address: RedisAddress, spec: RedisSpec, deps: LinkDeps, options: LinkOptions) {
    this.address = address;
    this.#spec = spec;
    this.#deps = deps;
    this.#options = options;
  }

  /** The connection when it is open, else undefined. */
  get current(): RedisConnection | undefined {
    return this.#current?.isOpen ? this.#current : undefined;
  }

  /** Why the last try to connect failed. */
  get lastFailure(): unknown {
    return this.#lastFailure;
  }

  /**
   * Waits for an open connection.
   * @throws RedisRefusedError when the server never let us in, RedisClosedError when the link is closed, or the signal's reason.
   */
  async connection(signal?: AbortSignal): Promise<RedisConnection> {
    const open = this.current;
    if (open) return open;
    signal?.throwIfAborted();
    this.#opening ??= this.#open().finally(() => (this.#opening = undefined));
    return await abortable(this.#opening, signal);
  }

  close(): void {
    this.#closing.abort(new RedisClosedError(`the connections to ${this.address.location} were closed`));
    this.#current?.destroy();
  }

  async #open(): Promise<RedisConnection> {
    const { clock, random, logger } = this.#deps;
    const { signal } = this.#closing;
    for (let tries = 0; ; tries += 1) {
      signal.throwIfAborted();
      try {
        return await this.#openOnce();
      } catch (error) {
        signal.throwIfAborted();
        this.#lastFailure = error;
        if (error instanceof RedisRefusedError && !this.#wasOpen) throw error;
        if (tries === 0) logger.warn({ err: error, purpose: this.#options.purpose }, `cannot reach ${this.address.location}, trying again`);
        const longestMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(tries, 16));
        await sleep(clock, longestMs * random(), signal);
      }
    }
  }

  async #openOnce(): Promise<RedisConnection> {
    const { signal } = this.#closing;
    const connection = await RedisConnection.open(this.address, this.#spec, this.#deps.clock, this.#options.protocol ?? 3, signal);
    try {
      await this.#options.onOpen?.(connection);
      signal.throwIfAborted();
    } catch (error) {
      connection.destroy();
      throw error;
    }
    this.#current = connection;
    this.#wasOpen = true;
    connection.closed.addEventListener("abort", () => this.#onClosed(), { once: true });
    return connection;
  }

  #onClosed(): void {
    if (this.#closing.signal.aborted) return;
    this.#deps.logger.debug({ purpose: this.#options.purpose }, `the connection to ${this.address.location} ended`);
    if (this.#options.eager) this.connection().catch(() => undefined); // the failure is kept, and told to whoever asks
  }
}

/** Settles as `promise` does, or rejects with the signal's reason as soon as it aborts. */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return await promise;
  signal.throwIfAborted();
  setMaxListeners(0, signal); // many may wait with one deadline
  return await new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(
      (value) => {
        signal.removeEventListener("abort", onAbort);
        resolve(value);
      },
      (error: unknown) => {
        signal.removeEventListener("abort", onAbort);
        reject(error);
      },
    );
  });
}
