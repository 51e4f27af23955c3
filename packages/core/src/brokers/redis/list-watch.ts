/**
 * Waits for messages in more lists than there are blocking reads for: Redis tells when a list changes whose length was read
 * (client tracking). It tells every watcher, so that only a few workers watch, in places that are refreshed while they have
 * free slots, and given up for others when they have none. Who has no place still looks with each heartbeat.
 *
 * States: idle -> claiming a place -> watching -> told, or the place given up -> idle. Tracking tells once, so that each wait reads anew.
 * Over two connections of its own: one that reads, and one that listens, with RESP2: the client library drops what RESP3 pushes.
 */
import { createHash } from "node:crypto";

import { asNumber } from "../../stores/redis/answers.ts";
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { watchersKey } from "../../stores/redis/keys.ts";
import type { RedisLink } from "../../stores/redis/link.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { Timer } from "../../shared/clock.ts";
import type { RedisContext } from "./context.ts";
import type { PausedQueues } from "../queue-pauses.ts";
import type { QueueList } from "./delivery.ts";

const claimScript = loadScript("claim-watch");
const watchScript = loadScript("watch");

const PLACES = 4;
const PLACE_MS = 30_000;
const REFRESH_MS = 10_000;
const CHANNEL = "__redis__:invalidate";

export class ListWatch {
  readonly #context: RedisContext;
  readonly #worker: string;
  readonly #lists: readonly QueueList[];
  readonly #paused: PausedQueues | undefined;
  readonly #places: string;
  readonly #onWake: () => void;
  readonly #listening: RedisLink;
  readonly #reading: RedisLink;
  #isWaiting = false;
  #isClosed = false;
  #hasPlace = false;
  /** Tracking is in force since the last reading, on this connection. */
  #watchedBy: RedisConnection | undefined;
  #busy: Promise<void> | undefined;
  #refresh: Timer | undefined;

  constructor(context: RedisContext, worker: string, lists: readonly QueueList[], paused: PausedQueues | undefined, onWake: () => void) {
    this.#context = context;
    this.#worker = worker;
    this.#lists = lists;
    this.#paused = paused;
    const keys = lists.map(({ list }) => list).toSorted();
    const name = createHash("sha1").update(keys.join("\n")).digest("hex").slice(0, 16);
    this.#places = watchersKey(context.shard, name);
    this.#onWake = onWake;
    this.#listening = context.newLink("hear of changed lists", {
      protocol: 2,
      onOpen: async (connection) => await this.#listen(connection),
    });
    this.#reading = context.newLink("watch lists", { onOpen: async (connection) => await this.#track(connection) });
  }

  /** Makes sure that the lists are watched, if there is a place. */
  wait(): void {
    if (this.#isClosed) return;
    this.#isWaiting = true;
    if (this.#watchedBy?.isOpen || this.#refresh) return;
    this.#busy ??= this.#watch().finally(() => (this.#busy = undefined));
  }

  /** Gives the place up, so that a worker with free slots can have it. */
  pause(connection: RedisConnection | undefined): void {
    if (!this.#isWaiting) return;
    this.#isWaiting = false;
    this.#stopWatching();
    if (!this.#hasPlace) return;
    this.#hasPlace = false;
    connection?.script(claimScript, [this.#places], [this.#worker, 0, PLACES]).catch(() => undefined); // it ends by itself in time
  }

  /** Other lists are to be watched from the next `wait` on. */
  pausesChanged(): void {
    this.#stopWatching();
  }

  reset(): void {
    this.#stopWatching();
    this.#reading.current?.destroy();
  }

  async close(connection: RedisConnection | undefined): Promise<void> {
    this.#isClosed = true;
    this.pause(connection);
    this.#listening.close();
    this.#reading.close();
    await this.#busy;
  }

  #stopWatching(): void {
    this.#watchedBy = undefined;
    this.#refresh?.cancel();
    this.#refresh = undefined;
  }

  async #watch(): Promise<void> {
    try {
      const commands = await this.#context.commands.connection();
      this.#hasPlace = asNumber(await commands.script(claimScript, [this.#places], [this.#worker, PLACE_MS, PLACES])) === 1;
      if (this.#hasPlace && this.#isWaiting && !this.#isClosed) await this.#read();
    } catch (error) {
      this.#context.logger.debug({ err: error, worker: this.#worker }, "could not watch the lists");
      this.#watchedBy = undefined;
    }
    if (!this.#isWaiting || this.#isClosed) return;
    this.#refresh = this.#context.clock.timer(
      REFRESH_MS,
      () => {
        this.#refresh = undefined;
        if (this.#isWaiting && !this.#isClosed) this.#busy ??= this.#watch().finally(() => (this.#busy = undefined));
      },
      { background: true },
    );
  }

  /** From here on a change of any list is told; what is there already is no change. */
  async #read(): Promise<void> {
    const reading = await this.#reading.connection();
    const isNew = this.#watchedBy !== reading;
    this.#watchedBy = reading;
    const lists = this.#paused?.isAny ? this.#lists.filter(({ queue }) => !this.#paused?.has(queue)) : this.#lists;
    const keys = lists.map(({ list }) => list);
    if (isNew && asNumber(await reading.script(watchScript, keys, [])) > 0) this.#tell();
  }

  #tell(): void {
    this.#stopWatching();
    if (this.#isWaiting && !this.#isClosed) this.#onWake();
  }

  async #listen(connection: RedisConnection): Promise<void> {
    connection.onMessage((channel) => {
      if (channel === CHANNEL) this.#tell();
    });
    await connection.command("SUBSCRIBE", [CHANNEL]);
  }

  async #track(connection: RedisConnection): Promise<void> {
    const listening = await this.#listening.connection();
    // Under RESP2 a subscribed connection takes no more commands: it told its id before.
    await connection.command("CLIENT", ["TRACKING", "ON", "REDIRECT", listening.clientId]);
    const end = (): void => {
      connection.destroy();
      this.#tell();
    };
    listening.closed.addEventListener("abort", end, { once: true });
    connection.closed.addEventListener("abort", () => listening.closed.removeEventListener("abort", end), { once: true });
  }
}
