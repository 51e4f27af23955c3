/**
 * Everybody who waits for results, on one subscription. Subscribe first, then read, and read again after every break: no outcome
 * falls between.
 *
 * A watch: asked for -> subscribed -> read once (in force) -> told of every document -> disposed.
 */
import type { Clock } from "../../shared/clock.ts";
import type { RedisConnection } from "../../stores/redis/connection.ts";
import type { RedisLink } from "../../stores/redis/link.ts";
import { Subscriber } from "../../stores/redis/subscriber.ts";
import { BackendRefusedError } from "../errors.ts";
import type { ResultText } from "../result-backend.ts";
import { asDocument } from "./redis-backend.ts";

type Listener = (document: ResultText) => void;
/** Over a connection of its own, or over this one, once. */
type Read = (keys: readonly string[], connection?: RedisConnection) => Promise<readonly (ResultText | undefined)[]>;

interface Watched {
  readonly listeners: Set<Listener>;
  /** Resolves when the first read has been told. */
  readonly inForce: Promise<void>;
  readonly begin: () => void;
  readonly fail: (error: unknown) => void;
}

const RETRY_MS = 1000;
/** What nobody waits for any more is mostly a result that has come, of which nothing more will be heard: it can wait for company. */
const KEEP_FOR_MS = 1000;

export class Watches {
  readonly #watched = new Map<string, Watched>();
  readonly #subscriber: Subscriber;
  readonly #read: Read;
  readonly #clock: Clock;

  constructor(read: Read, clock: Clock, makeLink: (onOpen: (connection: RedisConnection) => Promise<void>) => RedisLink) {
    this.#read = read;
    this.#clock = clock;
    const events = {
      message: (key: string, _channel: string, payload: Buffer): void => this.#tell(key, asDocument(payload)),
      subscribing: (keys: readonly string[], connection: RedisConnection): void => {
        if (connection.protocol === 3) void this.#readNow(keys, connection);
      },
      subscribed: (keys: readonly string[], connection: RedisConnection): void => {
        if (connection.protocol !== 3) void this.#readNow(keys);
      },
    };
    this.#subscriber = new Subscriber("channels", events, clock, makeLink, { keepForMs: KEEP_FOR_MS });
  }

  async watch(key: string, listener: Listener): Promise<Disposable> {
    const known = this.#watched.get(key);
    const watched = known ?? newWatched();
    const own: Listener = (document) => listener(document); // the same function may watch twice
    watched.listeners.add(own);
    this.#watched.set(key, watched);
    this.#subscriber.add(key);
    const end = (): void => this.#end(key, watched, own);
    try {
      await this.#subscriber.connected();
      await watched.inForce;
      if (known) await this.#readFor(key, own);
    } catch (error) {
      end();
      throw error;
    }
    return { [Symbol.dispose]: end };
  }

  close(): void {
    this.#subscriber.close();
    for (const { begin } of this.#watched.values()) begin();
    this.#watched.clear();
  }

  #end(key: string, watched: Watched, listener: Listener): void {
    watched.listeners.delete(listener);
    if (watched.listeners.size > 0 || this.#watched.get(key) !== watched) return;
    this.#watched.delete(key);
    this.#subscriber.drop(key);
  }

  #tell(key: string, document: ResultText | undefined): void {
    const watched = this.#watched.get(key);
    if (!watched || document === undefined) return;
    for (const listener of [...watched.listeners]) listener(document);
  }

  /** The later one of a watched pair missed the read that began the watch. */
  async #readFor(key: string, listener: Listener): Promise<void> {
    const [document] = await this.#read([key]);
    if (document !== undefined && this.#watched.get(key)?.listeners.has(listener)) listener(document);
  }

  async #readNow(keys: readonly string[], connection?: RedisConnection): Promise<void> {
    const began = keys.map((key) => this.#watched.get(key));
    try {
      const documents = await this.#read(keys, connection);
      keys.forEach((key, i) => this.#tell(key, documents[i]));
      for (const each of began) each?.begin();
    } catch (error) {
      if (connection) return connection.isOpen ? await this.#readNow(keys) : undefined; // the next connection reads again
      if (error instanceof BackendRefusedError && !error.transient) for (const each of began) each?.fail(error);
      // The subscription may have outlived the trouble, so that nothing else would read again.
      this.#clock.timer(RETRY_MS, () => void this.#readAgain(keys), { background: true });
    }
  }

  async #readAgain(keys: readonly string[]): Promise<void> {
    const still = keys.filter((key) => this.#watched.has(key));
    if (still.length > 0) await this.#readNow(still);
  }
}

function newWatched(): Watched {
  let begin = (): void => undefined;
  let fail = (_error: unknown): void => undefined;
  const inForce = new Promise<void>((resolve, reject) => {
    begin = resolve;
    fail = reject;
  });
  inForce.catch(() => undefined); // whoever watches awaits it
  return { listeners: new Set(), inForce, begin, fail };
}
