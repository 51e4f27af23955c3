/** Fair queues as operators see them. What runs is counted from the loans, so that there is nothing to put right when a worker dies. */
import { fairKeyText, type FairKey } from "../../protocol/fair-key.ts";
import type { Logger } from "../../shared/log.ts";
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import {
  checkChange, FAIR_SETTINGS_MAX, FairChangeError, fairKeyOf, type FairChange, type Fairness, type FairPage, type FairPageOptions, type KeyState,
} from "../fairness.ts"; // prettier-ignore
import { FairRows } from "./fair-rows.ts";
import { MessageRows, type MessageRow } from "./message-rows.ts";

/** Moved in one transaction. */
const SLICE = 500;
/** A queue that no worker has taken fairly for so long is taken otherwise, or not at all. */
const FORSAKEN_MS = 60_000;

export class SqliteFairness implements Fairness {
  readonly #file: SqliteFile;
  readonly #timing: { readonly timeoutMs: number };
  readonly #logger: Logger;
  readonly #messages: MessageRows;
  readonly #fair: FairRows;

  constructor(file: SqliteFile, timing: { readonly timeoutMs: number }, logger: Logger) {
    this.#file = file;
    this.#timing = timing;
    this.#logger = logger;
    this.#messages = new MessageRows(file);
    this.#fair = new FairRows(file);
  }

  /** The cursor is the last key that was told, behind a colon. */
  async page(queue: string, { limit, cursor }: FairPageOptions): Promise<FairPage> {
    return await this.#file.read(() => {
      const number = this.#messages.known(queue);
      if (number === undefined) return { keys: [], cursor: undefined, unsorted: 0, defaults: { weight: 1, limit: undefined } };
      const keys: FairKey[] = cursor === undefined && this.#has(number, "" as FairKey) ? ["" as FairKey] : [];
      let next: string | undefined;
      for (const key of this.#fair.keysAfter(number, cursor?.slice(1) ?? "")) {
        if (keys.length >= limit) {
          next = `:${keys.at(-1) ?? ""}`;
          break;
        }
        keys.push(key);
      }
      const { unsorted } = this.#file.sql("fair.countUnsorted").get(number) as { unsorted: number };
      return { keys: keys.map((key) => this.#state(number, key)), cursor: next, unsorted, defaults: this.#fair.defaults(number) };
    }, this.#timing);
  }

  async set(queue: string, key: string | undefined, change: FairChange): Promise<void> {
    checkChange(key, change);
    const own = key === undefined ? undefined : fairKeyOf(key);
    const isSet = await this.#file.write(() => this.#fair.set(this.#messages.number(queue), own, change, FAIR_SETTINGS_MAX), this.#timing);
    if (!isSet) throw new FairChangeError(`${FAIR_SETTINGS_MAX} keys of the queue ${queue} have settings of their own: no more can have`);
    this.#file.bell.ring("ready");
  }

  async release(queue: string): Promise<number> {
    const number = await this.#file.read(() => this.#messages.known(queue), this.#timing);
    if (number === undefined) return 0;
    return await this.#move(number, () => this.#file.sql("fair.release").all(number, SLICE));
  }

  async tidy(): Promise<boolean> {
    type Row = { queue: number; name: string; looked: number };
    const queues = await this.#file.read(() => this.#file.sql("fair.queues").all() as Row[], this.#timing);
    const now = this.#file.clock.now();
    for (const { queue, name, looked } of queues) {
      if (now - looked < FORSAKEN_MS) continue;
      const keys = await this.#file.read(
        () => [...this.#fair.keysWaiting(queue)].filter((key) => !this.#fair.rights(queue, key).paused),
        this.#timing,
      );
      let moved = 0;
      for (const key of keys) moved += await this.#move(queue, () => this.#file.sql("fair.releaseKey").all(queue, key, SLICE));
      if (moved > 0)
        this.#logger.warn(
          { queue: name, messages: moved },
          "no worker takes this queue fairly any more: what was sorted by keys is back in it",
        );
      await this.#file.write(() => this.#file.sql("fair.forget").run(queue), this.#timing);
    }
    return queues.length > 0;
  }

  /** Slice by slice, the last first: each goes to the front of those that follow it. */
  async #move(queue: number, takeSlice: () => unknown[]): Promise<number> {
    let moved = 0;
    for (let count = SLICE; count === SLICE;) {
      count = await this.#file.write(() => {
        const rows = takeSlice() as MessageRow[];
        this.#messages.returned(rows);
        this.#file.sql("fair.clearRing").run(queue);
        return rows.length;
      }, this.#timing);
      moved += count;
    }
    if (moved > 0) this.#file.bell.ring("ready");
    return moved;
  }

  #has(queue: number, key: FairKey): boolean {
    return this.#fair.waiting(queue, key, 1) > 0 || this.#fair.running(queue, key) > 0 || this.#fair.rights(queue, key).isSet;
  }

  #state(queue: number, key: FairKey): KeyState {
    return {
      key: fairKeyText(key),
      waiting: this.#fair.waiting(queue, key),
      running: this.#fair.running(queue, key),
      ...this.#fair.rights(queue, key),
    };
  }
}
