/** Locks of unique tasks in this process's memory. */
import { encodeEnvelope } from "../../protocol/envelope.ts";
import type { UniqueRule } from "../../protocol/unique.ts";
import type { Clock } from "../../shared/clock.ts";
import { newId } from "../../shared/ids.ts";
import type { Outgoing } from "../broker.ts";
import { BrokerRefusedError } from "../errors.ts";
import { priorityStep } from "../priority.ts";
import { lockOf, UniqueLedger, type UniqueRow } from "../unique-ledger.ts";
import { oneQueueOnly, underId, type UniqueAnswer, type UniqueLock, type Uniques, type UniqueStep } from "../uniques.ts";
import type { Entry, MemoryStore } from "./store.ts";

/** All locks are looked at for such that are over: seldom. */
const FORGET_EVERY = 1000;

export class MemoryUniques implements Uniques {
  readonly #location: string;
  readonly #store: MemoryStore;
  readonly #clock: Clock;
  readonly #ledger: UniqueLedger<Entry>;
  #published = 0;

  constructor(location: string, store: MemoryStore, clock: Clock) {
    this.#location = location;
    this.#store = store;
    this.#clock = clock;
    const rows = store.uniques;
    this.#ledger = new UniqueLedger<Entry>({
      get: (name) => rows.get(name),
      put: (row) => void rows.set(row.name, row),
      delete: (name) => void rows.delete(name),
      isAlive: (worker) => store.hasLease(worker, clock.monotonic()),
      replaceParked: (entry, text, dueAt) => {
        if (!store.takeParked(entry)) return undefined;
        entry.raw = text;
        store.park(entry, dueAt);
        return entry;
      },
      release: (entry) => {
        const wasParked = store.takeParked(entry);
        if (wasParked) store.toBack(entry);
        return wasParked;
      },
    });
  }

  async publish({ message, exchange, routingKey, unique }: Outgoing): Promise<UniqueAnswer> {
    const queues = this.#store.route(exchange, routingKey);
    const [queue] = queues;
    if (queue === undefined || queues.length > 1) throw new BrokerRefusedError(this.#location, oneQueueOnly(queues.length));
    if ((this.#published = (this.#published + 1) % FORGET_EVERY) === 0) this.#forgetOld();
    const taskId = String(message.headers["id"]);
    const text = encodeEnvelope(message, { exchange, routingKey }, newId());
    const entry: Entry = { queue, step: priorityStep(message.properties.priority), raw: text, losses: 0, lent: 0 };
    return this.#ledger.publish(
      {
        taskId,
        rule: unique as UniqueRule, // the caller has looked
        queue,
        textFor: (id) => underId(text, taskId, id),
        push: () => this.#store.toBack(entry),
        park: (dueAt) => {
          this.#store.park(entry, dueAt);
          return entry;
        },
      },
      this.#clock.now(),
    );
  }

  async step(steps: readonly UniqueStep[]): Promise<void> {
    for (const step of steps) this.stepNow(step);
  }

  /** As part of a settlement. */
  stepNow(step: UniqueStep): void {
    this.#ledger.step(step, this.#clock.now());
  }

  async list({ limit, queue }: { readonly limit: number; readonly queue?: string | undefined }): Promise<readonly UniqueLock[]> {
    this.#forgetOld();
    return [...this.#store.uniques.values()].filter((row) => queue === undefined || row.queue === queue).slice(0, limit).map(lockOf); // prettier-ignore
  }

  async break(name: string): Promise<string | undefined> {
    return this.#ledger.break(name, this.#clock.now());
  }

  #forgetOld(): void {
    const now = this.#clock.now();
    const old: UniqueRow<Entry>[] = [];
    for (const row of this.#store.uniques.values()) if (row.until <= now) old.push(row);
    for (const { name } of old) this.#store.uniques.delete(name);
  }
}
