/**
 * One connection for any number of subscriptions, renewed after each break. Tells when a subscription begins to be in force
 * again, so that its owner can read what it missed.
 */
import type { Clock, Timer } from "../../shared/clock.ts";
import type { RedisConnection } from "./connection.ts";
import type { RedisLink } from "./link.ts";

export interface SubscriberEvents {
  message(name: string, channel: string, payload: Buffer): void;
  /**
   * The command for these is being written: what is asked over this connection before this returns is executed as soon as they are
   * in force. A connection with RESP 2 takes no such questions.
   */
  subscribing?(names: readonly string[], connection: RedisConnection): void;
  /** These are in force now, for the first time or again after a break. */
  subscribed(names: readonly string[], connection: RedisConnection): void;
}

/** Names in one command. */
const PORTION = 250;
/** An idle subscription is asked for life so often; a broken one costs no more than this and an answer's time. */
const PING_MS = 5000;

export interface SubscriberOptions {
  /**
   * A connection to the same server that is in constant use. While it stays the same the subscription is taken to be as well as
   * it, and is asked for life only now and then: an idle worker counts its commands.
   */
  readonly sibling?: () => RedisConnection | undefined;
  /** How long a name that nobody wants may stay subscribed, to go with others or with the next that is wanted. Default: it goes at once. */
  readonly keepForMs?: number;
}

/** How often then. */
const PING_BESIDE_SIBLING_MS = 30_000;
const PONG_MS = 2500;

export class Subscriber {
  readonly #link: RedisLink;
  readonly #kind: { readonly subscribe: string; readonly unsubscribe: string };
  readonly #events: SubscriberEvents;
  readonly #clock: Clock;
  readonly #sibling: (() => RedisConnection | undefined) | undefined;
  readonly #keepForMs: number | undefined;
  readonly #wanted = new Set<string>();
  #toAdd = new Set<string>();
  #toDrop = new Set<string>();
  #isFlushing = false;
  #dropping: Timer | undefined;
  #isClosed = false;

  /** `makeLink` is given what must happen on each new connection; the link must be eager. */
  constructor(
    kind: "channels" | "patterns",
    events: SubscriberEvents,
    clock: Clock,
    makeLink: (onOpen: (connection: RedisConnection) => Promise<void>) => RedisLink,
    { sibling, keepForMs }: SubscriberOptions = {},
  ) {
    this.#sibling = sibling;
    this.#keepForMs = keepForMs;
    this.#kind =
      kind === "channels"
        ? { subscribe: "SUBSCRIBE", unsubscribe: "UNSUBSCRIBE" }
        : { subscribe: "PSUBSCRIBE", unsubscribe: "PUNSUBSCRIBE" };
    this.#events = events;
    this.#clock = clock;
    this.#link = makeLink(async (connection) => await this.#onOpen(connection));
  }

  get wanted(): ReadonlySet<string> {
    return this.#wanted;
  }

  /** In force some time later: `subscribed` tells. Names asked for in one turn go in one command. */
  add(name: string): void {
    if (this.#wanted.has(name)) return;
    this.#wanted.add(name);
    this.#toDrop.delete(name);
    this.#toAdd.add(name);
    this.#schedule();
  }

  drop(name: string): void {
    if (!this.#wanted.delete(name)) return;
    this.#toAdd.delete(name);
    this.#toDrop.add(name);
    if (this.#keepForMs === undefined || this.#toDrop.size >= PORTION) return this.#schedule();
    this.#dropping ??= this.#clock.timer(this.#keepForMs, () => this.#schedule(), { background: true });
  }

  close(): void {
    this.#isClosed = true;
    this.#dropping?.cancel();
    this.#link.close();
  }

  /** Rejects when the server never let us in. */
  async connected(signal?: AbortSignal): Promise<void> {
    await this.#link.connection(signal);
  }

  #schedule(): void {
    if (this.#isFlushing || this.#isClosed) return;
    this.#isFlushing = true;
    this.#dropping?.cancel();
    this.#dropping = undefined;
    setImmediate(() => void this.#flush());
  }

  async #flush(): Promise<void> {
    try {
      while ((this.#toAdd.size > 0 || this.#toDrop.size > 0) && !this.#isClosed) {
        const connection = await this.#link.connection();
        const added = [...this.#toAdd];
        const dropped = [...this.#toDrop];
        this.#toAdd = new Set();
        this.#toDrop = new Set();
        const answers = connection.inOneWrite(() => [
          ...portions(dropped).map((names) => connection.command(this.#kind.unsubscribe, names)),
          this.#subscribe(connection, added),
        ]);
        await Promise.all(answers);
      }
    } catch {
      // The connection broke: the next one subscribes to all that is wanted, and has nothing to drop.
      this.#toDrop = new Set();
    } finally {
      this.#isFlushing = false; // in the same step as the last look: what is asked for after it is scheduled anew
    }
  }

  async #onOpen(connection: RedisConnection): Promise<void> {
    connection.onMessage((channel, payload, pattern) => this.#events.message(pattern ?? channel, channel, payload));
    this.#toAdd = new Set();
    this.#toDrop = new Set();
    await this.#subscribe(connection, [...this.#wanted]);
    this.#keepAlive(connection);
  }

  async #subscribe(connection: RedisConnection, names: readonly string[]): Promise<void> {
    for (const portion of portions(names)) {
      await connection.inOneWrite(() => {
        const answer = connection.command(this.#kind.subscribe, portion);
        this.#events.subscribing?.(portion, connection);
        return answer;
      });
      this.#events.subscribed(portion, connection);
    }
  }

  #keepAlive(connection: RedisConnection): void {
    let sibling = this.#sibling?.();
    let askedAt = this.#clock.monotonic();
    let timer: Timer;
    const look = (): void => {
      if (!connection.isOpen) return;
      const now = this.#clock.monotonic();
      const beside = this.#sibling?.();
      const isVouchedFor = beside !== undefined && beside === sibling && now - askedAt < PING_BESIDE_SIBLING_MS - PING_MS / 2;
      sibling = beside;
      if (this.#wanted.size > 0 && !isVouchedFor) {
        askedAt = now;
        connection.mustAnswerWithin(PONG_MS);
        connection.command("PING", []).catch(() => undefined); // its silence ends the connection
      }
      timer = this.#clock.timer(PING_MS, look, { background: true });
    };
    timer = this.#clock.timer(PING_MS, look, { background: true });
    connection.closed.addEventListener("abort", () => timer.cancel(), { once: true });
  }
}

function portions(names: readonly string[]): readonly (readonly string[])[] {
  const all: string[][] = [];
  for (let from = 0; from < names.length; from += PORTION) all.push(names.slice(from, from + PORTION));
  return all;
}
