/**
 * Which of this worker's queues are paused: read from the broker before anything is taken, and read again when the broker says that
 * something has changed, when that may have been missed, and now and then in case nobody said so. A pause that has an end is
 * over at that time by the broker's clock, whether or not it can be asked then.
 */
import type { PausedQueues, QueuePause, QueuePauses } from "../brokers/queue-pauses.ts";
import { type Clock, type Random, sleep, type Timer } from "../shared/clock.ts";
import { errorText, LovageError } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import { backoffMs } from "./backoff.ts";

export interface PausesDeps {
  /** undefined: the broker keeps none. */
  readonly store: QueuePauses | undefined;
  readonly queues: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** ms since 1970, by the broker's clock. */
  brokerNow(): number;
}

/** For a word of the broker that was lost although its connection was not, which nobody has seen: an idle worker counts its commands. */
const REFRESH_MS = 10_000;
const RETRY = { baseMs: 100, maxMs: 2000 };
/** The broker's clock may be set meanwhile. */
const LONGEST_SLEEP_MS = 60_000;

export class KnownPauses implements PausedQueues {
  readonly #deps: PausesDeps;
  readonly #queues: ReadonlySet<string>;
  readonly #listeners = new Set<() => void>();
  readonly #ending = new AbortController();
  #kept: readonly QueuePause[] = [];
  #inForce: ReadonlyMap<string, QueuePause> = new Map();
  #reading: Promise<void> | undefined;
  #isReadAgain = false;
  #refresh: Timer | undefined;
  #end: Timer | undefined;

  constructor(deps: PausesDeps) {
    this.#deps = deps;
    this.#queues = new Set(deps.queues);
  }

  get isAny(): boolean {
    return this.#inForce.size > 0;
  }

  has(queue: string): boolean {
    return this.#inForce.has(queue);
  }

  /** Of this worker's queues. */
  get list(): readonly QueuePause[] {
    return [...this.#inForce.values()];
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Waits until the broker answers; resolves early when `stop` was called. */
  async load(): Promise<void> {
    const { store, clock, random, logger } = this.#deps;
    if (store === undefined) return;
    store.watch(this.#ending.signal, () => this.#readSoon(store));
    this.#planRefresh(store);
    for (let failures = 0; !this.#ending.signal.aborted; failures++) {
      try {
        return await this.#read(store);
      } catch (error) {
        if (failures === 0) logger.warn({ err: error }, `which queues are paused could not be read from the broker: ${errorText(error)}`);
        if (!(error instanceof LovageError && error.transient)) return; // it will not answer that
        await sleep(clock, backoffMs(failures, RETRY, random), this.#ending.signal).catch(() => undefined);
      }
    }
  }

  stop(): void {
    this.#refresh?.cancel();
    this.#end?.cancel();
    this.#ending.abort(new Error("the worker has stopped"));
  }

  #readSoon(store: QueuePauses): void {
    if (this.#ending.signal.aborted) return;
    if (this.#reading) {
      this.#isReadAgain = true;
      return;
    }
    this.#reading = this.#read(store)
      .catch((error: unknown) => this.#deps.logger.debug({ err: error }, `which queues are paused could not be read: ${errorText(error)}`))
      .finally(() => {
        this.#reading = undefined;
        if (!this.#isReadAgain) return;
        this.#isReadAgain = false;
        this.#readSoon(store);
      });
  }

  async #read(store: QueuePauses): Promise<void> {
    const all = await store.list();
    if (this.#ending.signal.aborted) return;
    this.#kept = all.filter(({ queue }) => this.#queues.has(queue));
    this.#judge();
  }

  /** What is in force by now. */
  #judge(): void {
    const now = this.#deps.brokerNow();
    const before = this.#inForce;
    this.#inForce = new Map(this.#kept.filter(({ until }) => until === undefined || until > now).map((pause) => [pause.queue, pause]));
    this.#planEnd(now);
    const { logger } = this.#deps;
    const begun = [...this.#inForce.values()].filter(({ queue }) => !before.has(queue));
    const ended = [...before.keys()].filter((queue) => !this.#inForce.has(queue));
    for (const { queue, by, reason } of begun)
      logger.warn({ queue, by, reason }, `the queue ${queue} is paused by ${by}${reason === "" ? "" : `: ${reason}`}`);
    for (const queue of ended) logger.info({ queue }, `the queue ${queue} goes on`);
    if (begun.length + ended.length > 0) for (const listener of this.#listeners) listener();
  }

  #planEnd(now: number): void {
    this.#end?.cancel();
    const next = Math.min(...Array.from(this.#inForce.values(), ({ until }) => until ?? Number.POSITIVE_INFINITY));
    if (next === Number.POSITIVE_INFINITY) return;
    this.#end = this.#deps.clock.timer(Math.min(next - now, LONGEST_SLEEP_MS), () => this.#judge(), { background: true });
  }

  #planRefresh(store: QueuePauses): void {
    const { clock, random } = this.#deps;
    const again = (): void => {
      this.#readSoon(store);
      this.#planRefresh(store);
    };
    this.#refresh = clock.timer(REFRESH_MS * (0.75 + random() / 2), again, { background: true });
  }
}
