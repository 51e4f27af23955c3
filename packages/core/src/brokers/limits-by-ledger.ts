/**
 * `Broker.limits` where the ledger is one with the messages: each call is one step of the store (`Vault.step`), a transaction or
 * simply a turn of the process.
 */
import type { Delivery } from "./broker.ts";
import { LimitLedger, type LimitRows, type WaitingMessage } from "./limit-ledger.ts";
import { specInForce } from "./limit-specs.ts";
import {
  type Admission, type AdmissionRequest, type Admissions, type GivenUp, limitName, type Limits, type LimitSpec, type LimitState, type LimitTable,
  type TurnOptions, type Turns,
} from "./limits.ts"; // prettier-ignore

/** What the ledger asks of the store that holds the messages. */
export interface Vault<Item> {
  readonly rows: LimitRows<Item> & LimitOverview;
  /** ms since 1970. */
  now(): number;
  /** Runs `work` as one step; perhaps more than once, and then only the last run counts. */
  step<T>(work: () => T, signal?: AbortSignal): Promise<T>;
  /** Ends a loan and hands its message over; undefined when it is lost. */
  endLoan(delivery: Delivery): Item | undefined;
  /** Whether this worker's loans are its own. */
  isAlive(worker: string): boolean;
  /** Messages went back to their queues. */
  returned(): void;
}

/** What is there, for who asks. */
export interface LimitOverview {
  table(): LimitTable;
  declare(name: string, spec: LimitSpec): void;
  set(id: string, spec: LimitSpec | null | undefined): void;
  holders(): readonly string[];
  /** Queues in which something waits. */
  queues(): readonly string[];
  /** Limits that something waits for in a queue, and how many. */
  waiting(queue: string): ReadonlyMap<string, number>;
  /** Limits that something runs under. */
  runningIds(): readonly string[];
}

export class LimitsByLedger<Item> implements Limits {
  readonly #vault: Vault<Item>;
  readonly #ledger: LimitLedger<Item>;
  #order = 0;

  constructor(vault: Vault<Item>) {
    this.#vault = vault;
    this.#ledger = new LimitLedger(vault.rows);
  }

  async admit(worker: string, requests: readonly AdmissionRequest[], signal?: AbortSignal): Promise<Admissions> {
    return await this.#vault.step(() => {
      const now = this.#vault.now();
      let nextTurnInMs: number | undefined;
      const answers = requests.map((request): Admission => {
        const { delivery, id, limits } = request;
        const verdict = this.#ledger.admit({ worker, hold: delivery.loan, id, queue: delivery.queue, limits }, now);
        if ("startAt" in verdict)
          return { kind: "admitted", startsInMs: Math.max(0, Math.ceil(verdict.startAt - now)), isHeld: verdict.isHeld };
        const item = this.#vault.endLoan(delivery);
        if (item === undefined) return { kind: "lost" };
        this.#ledger.wait(verdict.waitsFor, verdict.turnAt, this.#waiting(request, item, now));
        nextTurnInMs = Math.min(nextTurnInMs ?? Infinity, Math.max(0, Math.ceil(verdict.turnAt - now)));
        return { kind: "waits" };
      });
      return { answers, nextTurnInMs };
    }, signal);
  }

  async advance(worker: string, options: TurnOptions): Promise<Turns> {
    return await this.#turn(options, () => {
      const gone = this.#vault.rows.holders().filter((holder) => holder !== worker && !this.#vault.isAlive(holder));
      return new Set(gone.flatMap((holder) => [...this.#ledger.forgetWorker(holder)]));
    });
  }

  async release(worker: string, deliveries: readonly Delivery[], options: TurnOptions): Promise<Turns> {
    const holds = deliveries.map(({ loan }) => loan);
    return await this.#turn(options, () => this.#ledger.release(worker, holds));
  }

  async giveUp(_worker: string, requests: readonly GivenUp[], options: TurnOptions): Promise<Turns> {
    return await this.#turn(options, () => new Set(requests.flatMap(({ id, limits }) => [...this.#ledger.giveUp(id, limits)])));
  }

  async holdBack(ids: readonly string[], durationMs: number): Promise<void> {
    await this.#vault.step(() => this.#ledger.holdBack(ids, this.#vault.now() + durationMs));
  }

  async table(): Promise<LimitTable> {
    return await this.#vault.step(() => this.#vault.rows.table());
  }

  async declare(specs: ReadonlyMap<string, LimitSpec>): Promise<void> {
    if (specs.size === 0) return;
    await this.#vault.step(() => {
      for (const [name, spec] of specs) this.#vault.rows.declare(name, spec);
    });
  }

  async set(id: string, spec: LimitSpec | null | undefined): Promise<void> {
    await this.#vault.step(() => this.#vault.rows.set(id, spec));
  }

  async recheck(names: readonly string[]): Promise<void> {
    await this.#vault.step(() => {
      const { rows } = this.#vault;
      const waiting = new Map(rows.queues().map((queue) => [queue, rows.waiting(queue).keys()]));
      this.#ledger.recheck(waiting, names, this.#vault.now());
    });
  }

  /** Returns what waits to its queue, whatever the limits say. */
  async flush(queue?: string): Promise<number> {
    const moved = await this.#vault.step(() => {
      const queues = queue === undefined ? this.#vault.rows.queues() : [queue];
      return queues.reduce((sum, each) => sum + this.#ledger.flush(each, [...this.#vault.rows.waiting(each).keys()]), 0);
    });
    if (moved > 0) this.#vault.returned();
    return moved;
  }

  async states(max: number): Promise<readonly LimitState[]> {
    return await this.#vault.step(() => {
      const { rows } = this.#vault;
      const now = this.#vault.now();
      const table = rows.table();
      const waiting = new Map<string, number>();
      for (const queue of rows.queues()) for (const [id, count] of rows.waiting(queue)) waiting.set(id, (waiting.get(id) ?? 0) + count);
      const ids = new Set([...table.declared.keys(), ...table.set.keys(), ...waiting.keys(), ...rows.runningIds()]);
      return [...ids].slice(0, max).map((id) => {
        const spec = specInForce(table, id);
        const slackMs = spec === undefined ? 0 : (spec.burst - 1) * (spec.intervalMs ?? 0);
        return {
          id,
          spec,
          isSetByHand: table.set.has(id) || table.set.has(limitName(id)),
          waiting: waiting.get(id) ?? 0,
          running: rows.running(id),
          nextStartInMs: Math.max(0, Math.ceil(rows.tat(id) - slackMs - now)),
        };
      });
    });
  }

  async #turn({ queues, want }: TurnOptions, free: () => ReadonlySet<string>): Promise<Turns> {
    const turns = await this.#vault.step(() => {
      const freed = free();
      return this.#ledger.advance(queues, want, this.#vault.now(), freed);
    });
    if (turns.moved > 0) this.#vault.returned();
    return turns;
  }

  #waiting({ delivery, id, limits, expiresAt }: AdmissionRequest, item: Item, now: number): WaitingMessage<Item> {
    return { queue: delivery.queue, id, limits, expiresAt, since: now, order: this.#order++, item };
  }
}
