/**
 * Fair queues while they are in use: `app.fairness`. What is set here is kept in the broker and holds for all Lovage workers of the queue,
 * those that start later too. It says nothing to Python's workers, and nothing while no worker takes the queue fairly.
 */
import type { FairChange, Fairness, KeyState } from "../brokers/fairness.ts";
import { didYouMean } from "../shared/suggest.ts";
import type { Lovage } from "./app.ts";
import { CallError, UnsupportedByBrokerError } from "./errors.ts";
import { whoami } from "./queue-control.ts";

export interface KeyLimits {
  /** Messages in each of its turns, 1 to 1000; null: the default again. */
  readonly weight?: number | null;
  /** Messages that run at once, in all workers together; null: the default again. */
  readonly limit?: number | null;
}

export interface KeyPauseOptions {
  /** For whoever finds it paused. */
  readonly reason?: string;
  /** Who pauses it. Default: the user of this process, at this machine. */
  readonly by?: string;
}

export interface FairQueueState {
  readonly queue: string;
  /** Keys that have messages or settings, those with the most waiting first. "" is the key of messages without one. */
  readonly keys: readonly KeyState[];
  /** There are more keys than these. */
  readonly hasMore: boolean;
  /** Messages that no worker has sorted yet: they are not counted under their keys. */
  readonly unsorted: number;
  /** Of keys that have no settings of their own. */
  readonly defaults: { readonly weight: number; readonly limit: number | undefined };
}

const LIMITS: readonly (keyof KeyLimits)[] = ["weight", "limit"];

/** @throws CallError for a name that would change nothing */
function checked(limits: KeyLimits): KeyLimits {
  const unknown = Object.keys(limits).find((name) => !(LIMITS as readonly string[]).includes(name));
  if (unknown !== undefined) throw new CallError("", `"${unknown}" is not one of ${LIMITS.join(", ")}.${didYouMean(unknown, LIMITS)}`);
  return limits;
}

const PAGE = 1000;
const KEYS_MAX = 10_000;

export class FairQueues {
  readonly #app: Lovage;

  constructor(app: Lovage) {
    this.#app = app;
  }

  /** How each key of a queue stands, looking at no more than 10,000 of them. @throws UnsupportedByBrokerError, BrokerUnavailableError */
  async state(queue: string): Promise<FairQueueState> {
    const fairness = await this.#fairness();
    const states = new Map<string, KeyState>();
    for (let cursor: string | undefined; ;) {
      const page = await fairness.page(queue, { limit: PAGE, ...(cursor !== undefined && { cursor }) });
      for (const state of page.keys) states.set(state.key, state);
      cursor = page.cursor;
      if (cursor !== undefined && states.size < KEYS_MAX) continue;
      const keys = [...states.values()].toSorted((a, b) => b.waiting - a.waiting || b.running - a.running || (a.key < b.key ? -1 : 1));
      return { queue, keys, hasMore: cursor !== undefined, unsorted: page.unsorted, defaults: page.defaults };
    }
  }

  /** What one key may do, from the next message on; what runs goes on. @throws FairChangeError */
  async set(queue: string, key: string, limits: KeyLimits): Promise<void> {
    const { weight, limit } = checked(limits);
    await this.#change(queue, key, { ...(weight !== undefined && { weight }), ...(limit !== undefined && { limit }) });
  }

  /** What every key may do that has no settings of its own. @throws FairChangeError */
  async setDefaults(queue: string, limits: KeyLimits): Promise<void> {
    const { weight, limit } = checked(limits);
    await this.#change(queue, undefined, { ...(weight !== undefined && { weight }), ...(limit !== undefined && { limit }) });
  }

  /** No worker begins another message of this key. What runs goes on, what comes waits. */
  async pause(queue: string, key: string, { reason = "", by = whoami() }: KeyPauseOptions = {}): Promise<void> {
    await this.#change(queue, key, { paused: { by, reason, at: Math.round(this.#app.clock.now()) } });
  }

  async resume(queue: string, key: string): Promise<void> {
    await this.#change(queue, key, { paused: null });
  }

  /** Puts what is sorted back into the queue, for workers that take it as it comes: after `fair` was taken from the queue. Returns how many. */
  async release(queue: string): Promise<number> {
    return await (await this.#fairness()).release(queue);
  }

  async #change(queue: string, key: string | undefined, change: FairChange): Promise<void> {
    await (await this.#fairness()).set(queue, key, change);
  }

  async #fairness(): Promise<Fairness> {
    const { fairness, kind } = await this.#app.broker();
    if (fairness === undefined) throw new UnsupportedByBrokerError("fair queues", kind);
    return fairness;
  }
}
