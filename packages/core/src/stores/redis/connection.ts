/**
 * One connection to a Redis, from its greeting to its end; it never reconnects, `link.ts` makes the next one. The only
 * file that knows the client library.
 *
 * States: open -> closed. When it closes, each command under way rejects with RedisGoneError: none is sent again.
 * Invariant: a command that got no answer in its time closes the connection, so that no wait is longer than that.
 */
import { setMaxListeners } from "node:events";
import { readFileSync } from "node:fs";
import { Redis, type RedisOptions } from "ioredis";

import type { Clock, Timer } from "../../shared/clock.ts";
import type { RedisAddress } from "./address.ts";
import { RedisCommand } from "./command.ts";
import { listenFor } from "./listen-for.ts";
import { RedisAnswerError, RedisGoneError, RedisRefusedError } from "./errors.ts";
import type { RedisScript } from "./scripts.ts";
import type { RedisSpec, RedisTlsSpec } from "./spec.ts";

/** An answer with texts as bytes. Shapes are those of RESP2. */
export type Answer = Buffer | number | null | readonly Answer[];
export type Argument = string | number | Uint8Array;

export interface ServerFacts {
  /** e.g. `7.0.15`. */
  readonly version: string;
  readonly isModern: boolean;
  /** Changes when the server is started anew, and when another takes its place. */
  readonly runId: string;
}

export interface ConnectionLimits {
  readonly connectTimeoutMs: number;
  readonly socketTimeoutMs: number;
}

const OLDEST_VERSION = [6, 2] as const;
const MODERN_MAJOR = 7;

export class RedisConnection {
  readonly server: ServerFacts;
  /** A subscribed connection takes other commands only with RESP 3. */
  readonly protocol: 2 | 3;
  /** Redis's number for it. */
  readonly clientId: number;
  /** Aborts when the connection ends, with the RedisGoneError that says why. */
  readonly closed: AbortSignal;
  readonly #client: Redis;
  readonly #clock: Clock;
  readonly #limits: ConnectionLimits;
  readonly #closing: AbortController;
  #underWay = 0;
  #answers = 0;
  #lastAnswerAt = 0;
  #watchdog: Timer | undefined;

  private constructor(
    client: Redis,
    closing: AbortController,
    server: ServerFacts,
    clientId: number,
    clock: Clock,
    limits: ConnectionLimits,
  ) {
    this.#client = client;
    this.#closing = closing;
    this.closed = closing.signal;
    setMaxListeners(0, this.closed); // every consumer listens
    this.server = server;
    this.protocol = client.condition?.protocol === 3 ? 3 : 2;
    this.clientId = clientId;
    this.#clock = clock;
    this.#limits = limits;
  }

  /**
   * @throws RedisGoneError when it cannot be reached, RedisRefusedError when it will not have us or is too old.
   */
  static async open(
    address: RedisAddress,
    spec: Pick<RedisSpec, "clientName" | "keepalive">,
    limits: ConnectionLimits,
    clock: Clock,
    protocol: 2 | 3,
    signal?: AbortSignal,
  ): Promise<RedisConnection> {
    const client = new Redis(clientOptions(address, spec, protocol));
    const closing = new AbortController();
    let lastError: unknown;
    client.on("error", (error: unknown) => (lastError = error));
    client.on("end", () =>
      closing.abort(new RedisGoneError(`the connection to ${address.location} ended`, { sent: true, cause: lastError })),
    );
    const giveUp = (): void => drop(client);
    const timer = listenFor(clock, limits.connectTimeoutMs, () => {
      lastError ??= new Error(`no greeting within ${limits.connectTimeoutMs} ms`);
      giveUp();
    });
    signal?.addEventListener("abort", giveUp, { once: true });
    try {
      signal?.throwIfAborted();
      await client.connect();
      if (address.db !== 0) await client.call("SELECT", String(address.db));
      const id = client.call("CLIENT", "ID").catch(() => 0); // a user may lack the right to ask: blocking reads then end by themselves
      const server = readServerFacts(String(await client.call("INFO")), address.location);
      return new RedisConnection(client, closing, server, Number(await id), clock, limits);
    } catch (error) {
      client.disconnect();
      signal?.throwIfAborted();
      throw connectFailure(error, lastError, address.location);
    } finally {
      timer.cancel();
      signal?.removeEventListener("abort", giveUp);
    }
  }

  get isOpen(): boolean {
    return !this.closed.aborted;
  }

  /** @throws RedisAnswerError, or RedisGoneError. */
  command(name: string, args: readonly Argument[]): Promise<Answer> {
    return this.#send(name, args, true);
  }

  /** A script is loaded when the server does not know it yet. */
  script(script: RedisScript, keys: readonly string[], args: readonly Argument[]): Promise<Answer> {
    const { sha, source } = this.server.isModern ? script.modern : script.plain;
    const all: readonly Argument[] = [sha, keys.length, ...keys, ...args];
    return this.#send("EVALSHA", all, true, (error) => {
      if (!(error instanceof RedisAnswerError) || error.word !== "NOSCRIPT") throw error;
      return this.#send("EVAL", [source, ...all.slice(1)], true);
    });
  }

  /**
   * Commands that are executed one after the other with nothing between, in one write. What Redis refuses to execute is an error in its place.
   * @throws RedisAnswerError when it refused one before: then none was executed.
   */
  async transaction(commands: readonly (readonly [name: string, args: readonly Argument[]])[]): Promise<readonly (Answer | Error)[]> {
    const { queued, executed } = this.inOneWrite(() => ({
      queued: Promise.allSettled([this.#send("MULTI", [], false), ...commands.map(([name, args]) => this.#send(name, args, false))]),
      executed: this.#send("EXEC", [], true),
    }));
    try {
      const answers = (await executed) as readonly (Answer | Error)[]; // the client library keeps refusals apart so
      return answers.map((answer) => (answer instanceof Error ? new RedisAnswerError(answer.message) : answer));
    } catch (error) {
      if (!(error instanceof RedisAnswerError)) throw error;
      const refused = (await queued).find((each) => each.status === "rejected");
      throw refused?.reason ?? error;
    }
  }

  /** What is asked for within `act` reaches Redis together: each write of its own costs more than most commands. */
  inOneWrite<T>(act: () => T): T {
    if (!this.isOpen) return act(); // which is told so
    const { stream } = this.#client;
    stream.cork();
    try {
      return act();
    } finally {
      stream.uncork();
    }
  }

  /** A command that Redis may answer up to `waitMs` later. Alone on its connection. */
  async blocking(name: string, args: readonly Argument[], waitMs: number): Promise<Answer> {
    const late = (): void => this.destroy(new RedisGoneError(`${name} did not return in its time`, { sent: true }));
    const timer = this.#clock.timer(waitMs + this.#limits.socketTimeoutMs, () => afterReading(late), { background: true });
    try {
      return await this.#send(name, args, false);
    } finally {
      timer.cancel();
    }
  }

  /** Ends the connection unless an answer comes within `ms`: for who is about to ask something small, to see whether it lives. */
  mustAnswerWithin(ms: number): void {
    const seen = this.#answers;
    const look = (): void => {
      if (this.isOpen && this.#underWay > 0 && this.#answers === seen)
        this.destroy(new RedisGoneError(`Redis did not answer within ${ms} ms`, { sent: true }));
    };
    this.#clock.timer(ms, () => afterReading(look), { background: true });
  }

  /** Messages of channels and patterns that were subscribed to with `command`. */
  onMessage(listener: (channel: string, payload: Buffer, pattern: string | undefined) => void): void {
    this.#client.on("messageBuffer", (channel: Buffer, payload: Buffer) => listener(channel.toString(), payload, undefined));
    this.#client.on("pmessageBuffer", (pattern: string, channel: Buffer, payload: Buffer) =>
      listener(channel.toString(), payload, pattern),
    );
  }

  destroy(reason?: RedisGoneError): void {
    if (!this.isOpen) return;
    this.#closing.abort(reason ?? new RedisGoneError("the connection was closed", { sent: true }));
    this.#watchdog?.cancel();
    this.#client.disconnect();
  }

  /**
   * One promise for a command, with no steps between the answer and who waits for it.
   * @param isWatched whether its answer is due within the socket's timeout
   * @param recover what to do when it failed; throws the error that it is given when there is nothing
   */
  #send(name: string, args: readonly Argument[], isWatched: boolean, recover?: (error: unknown) => Promise<Answer>): Promise<Answer> {
    if (!this.isOpen) return Promise.reject(new RedisGoneError("the connection has ended", { sent: false, cause: this.closed.reason }));
    const command = new RedisCommand(name.toLowerCase(), args);
    if (isWatched) this.#asked();
    const failed = (error: unknown): Promise<Answer> => {
      if (isWatched) this.#answered();
      const failure = this.#translate(error, command.isWritten);
      if (recover) return recover(failure);
      throw failure;
    };
    try {
      const answer = this.#client.sendCommand(command) as Promise<Answer>;
      if (!isWatched) return answer.catch(failed);
      return answer.then((value) => {
        this.#answered();
        return value;
      }, failed);
    } catch (error) {
      return Promise.reject(error).catch(failed);
    }
  }

  #translate(error: unknown, isWritten: boolean): unknown {
    if (error instanceof Error && error.name === "ReplyError") return this.#refused(new RedisAnswerError(error.message));
    if (error instanceof TypeError || error instanceof RangeError) return error; // ours, not the connection's
    const reason = this.closed.aborted ? this.closed.reason : error;
    // A socket that takes no more bytes is told to be closed a little later: whoever tries again must find that out now.
    this.destroy(new RedisGoneError("the connection broke", { sent: true, cause: reason }));
    const when = isWritten ? "before the answer came" : "before the command was sent";
    return new RedisGoneError(`the connection ended ${when}`, { sent: isWritten, cause: reason });
  }

  /** A server that is no master any more, or not yet, is the wrong one: the next connection asks anew where the right one is. */
  #refused(error: RedisAnswerError): RedisAnswerError {
    if (error.isWrongServer) this.destroy(new RedisGoneError(`Redis answered ${error.word}`, { sent: true, cause: error }));
    return error;
  }

  #asked(): void {
    if (this.#underWay++ > 0) return;
    this.#lastAnswerAt = this.#clock.monotonic();
    if (!this.#watchdog) this.#arm(this.#limits.socketTimeoutMs);
  }

  #answered(): void {
    this.#underWay -= 1;
    this.#answers += 1;
    this.#lastAnswerAt = this.#clock.monotonic();
  }

  #arm(delayMs: number): void {
    this.#watchdog = this.#clock.timer(delayMs, () => this.#look(), { background: true });
  }

  #look(): void {
    this.#watchdog = undefined;
    if (this.#underWay === 0 || !this.isOpen) return;
    const leftMs = this.#lastAnswerAt + this.#limits.socketTimeoutMs - this.#clock.monotonic();
    if (leftMs > 0) return this.#arm(leftMs);
    const seen = this.#answers;
    afterReading(() => {
      if (this.#underWay === 0 || !this.isOpen) return;
      if (this.#answers !== seen) return this.#arm(this.#limits.socketTimeoutMs);
      this.destroy(new RedisGoneError(`Redis did not answer within ${this.#limits.socketTimeoutMs} ms`, { sent: true }));
    });
  }
}

/** When user code has blocked the event loop, a timer runs before the answers that lie in the socket are read: let that happen first. */
function afterReading(act: () => void): void {
  setImmediate(() => setImmediate(act));
}

/**
 * Asks a server one thing over a connection of its own: for servers that hold no data, such as sentinels.
 * @throws RedisGoneError, RedisRefusedError, RedisAnswerError
 */
export async function askOnce(
  address: RedisAddress,
  limits: ConnectionLimits,
  clock: Clock,
  name: string,
  args: readonly string[],
  signal?: AbortSignal,
): Promise<Answer> {
  const client = new Redis(clientOptions(address, { clientName: "lovage:ask" }, 2));
  let lastError: unknown;
  client.on("error", (error: unknown) => (lastError = error));
  const giveUp = (): void => drop(client);
  const timer = listenFor(clock, limits.connectTimeoutMs, () => {
    lastError ??= new Error(`no answer within ${limits.connectTimeoutMs} ms`);
    giveUp();
  });
  signal?.addEventListener("abort", giveUp, { once: true });
  try {
    signal?.throwIfAborted();
    await client.connect();
    return (await client.callBuffer(name, ...args)) as Answer;
  } catch (error) {
    signal?.throwIfAborted();
    throw connectFailure(error, lastError, address.location);
  } finally {
    timer.cancel();
    signal?.removeEventListener("abort", giveUp);
    client.disconnect();
  }
}

/** At once: `disconnect` alone waits two seconds for a socket that has not come to be. */
function drop(client: Redis): void {
  const stream = client.stream as Redis["stream"] | undefined; // there is none before the first try
  client.disconnect();
  stream?.destroy();
}

function clientOptions(
  address: RedisAddress,
  spec: Pick<RedisSpec, "clientName" | "keepalive">,
  protocol: 2 | 3,
): RedisOptions & { replyMapping: "legacy" } {
  return {
    ...("path" in address.server ? { path: address.server.path } : address.server),
    ...(address.username === undefined ? {} : { username: address.username }),
    ...(address.password === undefined ? {} : { password: address.password }),
    ...(address.tls === undefined ? {} : { tls: tlsOptions(address.tls) }),
    ...(spec.clientName === undefined ? {} : { connectionName: spec.clientName }),
    ...(spec.keepalive === false ? {} : { keepAlive: 10_000 }),
    connectTimeout: 0, // `listenFor` sees to that
    lazyConnect: true,
    protocol,
    replyMapping: "legacy",
    disableClientInfo: true,
    // Nothing is repeated behind our back: a repeated LPUSH is a task that runs twice.
    retryStrategy: () => null,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    maxRetriesPerRequest: null,
  };
}

function tlsOptions(tls: RedisTlsSpec): NonNullable<RedisOptions["tls"]> {
  const pem = (value: string): string | Buffer => (value.includes("-----BEGIN") ? value : readFileSync(value));
  return {
    ...(tls.ca === undefined ? {} : { ca: pem(tls.ca) }),
    ...(tls.cert === undefined ? {} : { cert: pem(tls.cert) }),
    ...(tls.key === undefined ? {} : { key: pem(tls.key) }),
    ...(tls.servername === undefined ? {} : { servername: tls.servername }),
    rejectUnauthorized: tls.rejectUnauthorized ?? true,
    ...(tls.checkHostname === false ? { checkServerIdentity: () => undefined } : {}),
  };
}

function readServerFacts(info: string, location: string): ServerFacts {
  const field = (name: string): string => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1] ?? "";
  const version = field("redis_version");
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (field("loading") === "1") throw new RedisAnswerError("LOADING Redis is loading the dataset in memory");
  if (field("role") === "slave" && field("slave_read_only") === "1") throw new RedisAnswerError(`READONLY ${location} is a replica`);
  if (version === "")
    throw new RedisRefusedError(`${location} does not tell its Redis version; Lovage needs Redis 6.2 or newer, or Valkey`);
  if (major < OLDEST_VERSION[0] || (major === OLDEST_VERSION[0] && minor < OLDEST_VERSION[1])) {
    throw new RedisRefusedError(`${location} is Redis ${version}; Lovage needs Redis 6.2 or newer, or Valkey`);
  }
  return { version, isModern: major >= MODERN_MAJOR, runId: field("run_id") };
}

const NOT_LET_IN = /^(WRONGPASS|NOAUTH|NOPERM|ERR invalid password|ERR DB index|ERR AUTH)/;

function connectFailure(error: unknown, lastError: unknown, location: string): Error {
  if (error instanceof RedisRefusedError) return error;
  for (const each of [error, lastError]) {
    const text = each instanceof Error ? each.message : "";
    if (NOT_LET_IN.test(text)) return new RedisRefusedError(`${location} does not let us in: ${text}`);
  }
  return new RedisGoneError(`cannot connect to ${location}`, { sent: false, cause: lastError ?? error });
}
