/**
 * Opens all connections of one broker or one result backend: they agree on the server, and they share what is known of it.
 * One of them tries while the server is away, with growing pauses of random length (full jitter), and the others wait for it:
 * a fleet costs a server that is down one try a process, and does not return as one wave.
 *
 * States: up -> (a try failed) away: one tries, others wait -> (it got through) up, for the first seconds with a ramp.
 */
import { type Clock, type Random, sleep } from "../../shared/clock.ts";
import { errorText } from "../../shared/errors.ts";
import type { Logger } from "../../shared/log.ts";
import { abortable } from "./abortable.ts";
import type { RedisAddress } from "./address.ts";
import { askOnce, type ConnectionLimits, RedisConnection } from "./connection.ts";
import { RedisGaveUpError, RedisGoneError, RedisRefusedError } from "./errors.ts";
import { Ramp } from "./ramp.ts";
import { makeResolver, type Resolver } from "./resolver.ts";
import type { MasterPlace } from "./sentinel.ts";
import type { SentinelWatch } from "./sentinel-watch.ts";
import type { RedisSpec } from "./spec.ts";
import type { RedisTarget } from "./target.ts";

const FIRST_PAUSE_MS = 100;
/** Workers are back within 5 s of their broker's return: pause, connect and read must fit in. */
const LONGEST_PAUSE_MS = 2000;
/** A server that once greeted us is not waited for longer: the try was begun before it came back. But thrice as long as it took. */
const GREETING_MS = 2000;
const GREETING_FACTOR = 3;
/** An outage that was shorter has gathered little. */
const RAMP_AFTER_MS = 500;

export interface SupervisorDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** What one connection is to be like. */
export interface Wanted {
  /** For the log, and after the client's name in CLIENT LIST. */
  readonly purpose: string;
  readonly protocol: 2 | 3;
  readonly limits: ConnectionLimits;
  /** Whether a server that refuses us is an error, and not as if it were away. */
  readonly isFirst: boolean;
  /** Tries in a row after which it gives up. */
  readonly triesMax: number;
}

export class RedisSupervisor {
  readonly target: RedisTarget;
  readonly #spec: RedisSpec;
  readonly #deps: SupervisorDeps;
  readonly #resolver: Resolver;
  readonly #connect: typeof RedisConnection.open;
  readonly #longestPauseMs: number;
  readonly #firstPauseMs: number;
  #greetingMs = Number.POSITIVE_INFINITY;
  #failures = 0;
  #awaySince: number | undefined;
  #lastFailure: unknown;
  #probe: Promise<void> | undefined;
  #ramp: Ramp | undefined;
  /** To which server each goes. */
  readonly #open = new Map<RedisConnection, RedisAddress>();
  #watch: { close(): void } | undefined;
  readonly #closing = new AbortController();

  constructor(target: RedisTarget, spec: RedisSpec, deps: SupervisorDeps, connect: typeof RedisConnection.open = RedisConnection.open) {
    this.target = target;
    this.#spec = spec;
    this.#deps = deps;
    this.#connect = connect;
    this.#resolver = makeResolver(target.route, { ...deps, ask: askOnce });
    const patienceMs = spec.publishTimeoutMs ?? Number.POSITIVE_INFINITY;
    // Who publishes waits for the next try: there are a few before the deadline.
    const longestMs = Math.min(LONGEST_PAUSE_MS, patienceMs / 4);
    this.#firstPauseMs = spec.retryFirstMs ?? FIRST_PAUSE_MS;
    this.#longestPauseMs = Math.max(
      longestMs,
      spec.retryFirstMs === undefined || spec.retryFirstMs <= LONGEST_PAUSE_MS ? 0 : spec.retryFirstMs,
    );
    if (target.remark) deps.logger.warn({ location: target.location }, target.remark);
  }

  /** Its links are closed by who has them. */
  close(): void {
    this.#closing.abort();
    this.#watch?.close();
  }

  /** Why the last try to connect failed; undefined once one got through. */
  get lastFailure(): unknown {
    return this.#lastFailure;
  }

  /** What gathered during an outage passes here before it is sent; undefined when nothing has to. */
  get ramp(): Ramp | undefined {
    if (this.#ramp?.isOver) this.#ramp = undefined;
    return this.#ramp;
  }

  /**
   * Tries until a connection is open. Nobody but its caller has it yet.
   * @throws RedisRefusedError, RedisGaveUpError after so many tries, or the signal's reason
   */
  async open(wanted: Wanted, signal: AbortSignal): Promise<RedisConnection> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#probe) {
        await abortable(this.#probe, signal);
      } else {
        try {
          return await (this.#failures === 0 ? this.#try(wanted, signal, false) : this.#tryAsProbe(wanted, signal));
        } catch (error) {
          signal.throwIfAborted();
          if (error instanceof RedisRefusedError && wanted.isFirst) throw error;
        }
      }
      if (this.#failures > wanted.triesMax) throw new RedisGaveUpError(this.target.location, this.#failures, this.#lastFailure);
    }
  }

  async #tryAsProbe(wanted: Wanted, signal: AbortSignal): Promise<RedisConnection> {
    const { clock, random } = this.#deps;
    const pauseMs = Math.min(this.#longestPauseMs, this.#firstPauseMs * 2 ** Math.min(this.#failures - 1, 16)) * random();
    const attempt = sleep(clock, pauseMs, signal).then(async () => await this.#try(wanted, signal, true));
    const ended = (): void => void (this.#probe = undefined);
    this.#probe = attempt.then(ended, ended);
    return await attempt;
  }

  async #try({ purpose, protocol, limits }: Wanted, signal: AbortSignal, isProbe: boolean): Promise<RedisConnection> {
    const { clock } = this.#deps;
    let address: RedisAddress | undefined;
    const from = clock.monotonic();
    try {
      address = await this.#resolver.resolve(signal);
      const clientName = `${this.#spec.clientName ?? "lovage"}:${purpose.replaceAll(/[^\w.-]+/g, "-")}`;
      const connectTimeoutMs = Math.min(limits.connectTimeoutMs, this.#greetingMs);
      const connection = await this.#connect(
        address,
        { ...this.#spec, clientName },
        { ...limits, connectTimeoutMs },
        clock,
        protocol,
        signal,
      );
      this.#greetingMs = Math.max(GREETING_MS, GREETING_FACTOR * (clock.monotonic() - from));
      this.#succeeded();
      this.#keepInView(connection, address);
      return connection;
    } catch (error) {
      if (!signal.aborted) this.#failed(error, purpose, address, isProbe);
      throw error;
    }
  }

  #failed(error: unknown, purpose: string, address: RedisAddress | undefined, isProbe: boolean): void {
    const { clock, logger } = this.#deps;
    this.#lastFailure = error;
    if (address) this.#resolver.failed(address);
    // Those that tried together when nobody knew yet failed of one cause.
    if (isProbe || this.#failures === 0) this.#failures += 1;
    if (this.#awaySince !== undefined) return;
    this.#awaySince = clock.monotonic();
    logger.warn({ err: error, purpose }, `cannot reach ${this.target.location}, trying again: ${errorText(error)}`);
  }

  #succeeded(): void {
    const { clock, random, logger } = this.#deps;
    this.#failures = 0;
    this.#lastFailure = undefined;
    if (this.#awaySince === undefined) return;
    const awayMs = clock.monotonic() - this.#awaySince;
    this.#awaySince = undefined;
    if (awayMs >= RAMP_AFTER_MS) this.#ramp = new Ramp(clock, random);
    logger.info({ awayMs: Math.round(awayMs) }, `${this.target.location} is there again after ${(awayMs / 1000).toFixed(1)} s`);
  }

  /** With sentinels: a connection to a server that is not the master any more is broken off, not waited for. */
  #keepInView(connection: RedisConnection, address: RedisAddress): void {
    const { route } = this.target;
    if (route.kind !== "sentinel" || this.#closing.signal.aborted) return;
    this.#open.set(connection, address);
    connection.closed.addEventListener("abort", () => this.#open.delete(connection), { once: true });
    this.#watch ??= watchSentinels(route, this.#deps, {
      switched: (master) => this.#leaveAllBut(master),
      missed: () => void this.#askWhetherSwitched(),
    });
  }

  async #askWhetherSwitched(): Promise<void> {
    try {
      const { server } = await this.#resolver.resolve(this.#closing.signal);
      if ("port" in server) this.#leaveAllBut(server);
    } catch {
      // Nobody can say now: what is open is as good as anything.
    }
  }

  #leaveAllBut(master: MasterPlace): void {
    for (const [connection, { server, location }] of this.#open) {
      if ("path" in server || (server.host === master.host && server.port === master.port)) continue;
      const reason = `${location} is not the master any more: ${master.host}:${master.port} is`;
      connection.destroy(new RedisGoneError(reason, { sent: true }));
    }
  }
}

/** Loaded when there are sentinels: it needs links and supervisors itself. */
function watchSentinels(...args: ConstructorParameters<typeof SentinelWatch>): { close(): void } {
  let isClosed = false;
  let watch: SentinelWatch | undefined;
  void import("./sentinel-watch.ts").then((module) => {
    if (!isClosed) watch = new module.SentinelWatch(...args);
  });
  return {
    close: () => {
      isClosed = true;
      watch?.close();
    },
  };
}
