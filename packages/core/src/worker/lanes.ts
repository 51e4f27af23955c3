/**
 * The pools of a worker beside each other: its own, and those that tasks ask for (`pool: "threads"`), each with what
 * waits for its slots. A pool that nobody asks for is never started.
 */
import type { PoolName } from "../app/task-options.ts";
import { Fifo } from "./fifo.ts";
import type { Pool, PoolEvents } from "./pool/pool.ts";
import type { Request } from "./request.ts";

/** One pool, with what waits for it. */
export class Lane {
  readonly pool: Pool;
  readonly ready = new Fifo<Request>();
  /** Bodies that run, or that wait for their early ack. */
  running = 0;
  /** A pool that is being started has no slots yet. */
  isUp: boolean;

  constructor(pool: Pool, isUp: boolean) {
    this.pool = pool;
    this.isUp = isUp;
  }

  get slots(): number {
    return this.isUp ? this.pool.slots : 0;
  }

  /** How many more wait for it than will have their turn next. What is taken follows the slots of all pools together, so it can be many. */
  get surplus(): number {
    return this.ready.size - this.pool.size;
  }

  get hasFreeSlot(): boolean {
    return this.isUp && this.running < this.pool.slots;
  }
}

export class Lanes {
  /** The worker's own pool: of every task that names no other. */
  readonly primary: Lane;
  readonly #make: (kind: PoolName) => Pool;
  readonly #events: PoolEvents;
  readonly #others = new Map<PoolName, Lane>();
  #all: readonly Lane[];

  /** @param primary has been started. @param make another pool, not started; may throw */
  constructor(primary: Pool, make: (kind: PoolName) => Pool, events: PoolEvents) {
    this.primary = new Lane(primary, true);
    this.#make = make;
    this.#events = events;
    this.#all = [this.primary];
  }

  get all(): readonly Lane[] {
    return this.#all;
  }

  /** Slots of all pools that are up. */
  get slots(): number {
    let slots = 0;
    for (const lane of this.#all) slots += lane.slots;
    return slots;
  }

  /** Starts a pool that is asked for the first time. */
  of(request: Request): Lane {
    const { pool } = request.options;
    if (pool === undefined || pool === this.primary.pool.kind) return this.primary;
    return this.#others.get(pool) ?? this.#open(pool);
  }

  #open(kind: PoolName): Lane {
    const lane = new Lane(this.#tryToMake(kind) ?? this.primary.pool, false);
    this.#others.set(kind, lane);
    this.#all = [this.primary, ...this.#others.values()];
    if (lane.pool === this.primary.pool) return lane; // never up: what waits in it goes back when the worker stops
    lane.pool.start(this.#events).then(
      () => {
        lane.isUp = true;
        this.#events.slotsChanged();
      },
      (error: unknown) => this.#events.failed(error),
    );
    return lane;
  }

  #tryToMake(kind: PoolName): Pool | undefined {
    try {
      return this.#make(kind);
    } catch (error) {
      this.#events.failed(error);
      return undefined;
    }
  }

  /** Rejects with the first error, after all have stopped. */
  async stop(): Promise<void> {
    const pools = new Set(this.#all.map(({ pool }) => pool));
    const stopped = await Promise.allSettled([...pools].map((pool) => pool.stop()));
    for (const each of stopped) if (each.status === "rejected") throw each.reason;
  }
}
