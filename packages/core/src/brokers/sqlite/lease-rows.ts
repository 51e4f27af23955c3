/**
 * Workers and their leases, in a write transaction of the file. A lease is held, ended (its time is over; still the
 * worker's, who may renew it) or lost (swept; its loans are others' now, and the worker has a new number).
 */
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import type { MessageRow } from "./message-rows.ts";

export interface WorkerRow {
  readonly holder: number;
  readonly name: string;
  readonly consumer: string | null;
  readonly ends: number;
  readonly duration: number;
  readonly lost: 0 | 1;
}

export interface LoanRow extends MessageRow {
  readonly begun: 0 | 1;
}

/** A worker that consumes before its guard has made the lease has this long. */
const FIRST_LEASE_MS = 30_000;
/** A lost worker that has not come back after a day is forgotten. */
const FORGET_LOST_MS = 24 * 3_600_000;

export class LeaseRows {
  readonly #file: SqliteFile;

  constructor(file: SqliteFile) {
    this.#file = file;
  }

  find(name: string): WorkerRow | undefined {
    return this.#file.sql("lease.worker").get(name) as WorkerRow | undefined;
  }

  /** Answers what the lease was before: undefined when there was none. */
  renew(name: string, durationMs: number): WorkerRow | undefined {
    const before = this.find(name);
    const ends = this.#file.clock.monotonic() + durationMs;
    if (before === undefined) this.#file.sql("lease.add").run(name, null, ends, durationMs);
    else this.#file.sql("lease.renew").run(name, ends, durationMs);
    return before;
  }

  /**
   * Makes `consumer` the one that consumes as `name`. A name is unique among live workers, so
   * what another consumer left under it is a dead predecessor's, which is answered: its loans are lost,
   * and the name gets a new number.
   */
  consume(name: string, consumer: string): WorkerRow | undefined {
    const before = this.find(name);
    const isOthers = before !== undefined && before.consumer !== null && before.consumer !== consumer;
    if (before !== undefined && !isOthers) {
      this.#file.sql("lease.consume").run(name, consumer);
      return undefined;
    }
    const first = { ends: this.#file.clock.monotonic() + FIRST_LEASE_MS, duration: FIRST_LEASE_MS };
    const { ends, duration } = before ?? first;
    this.remove(name);
    this.#file.sql("lease.add").run(name, consumer, ends, duration);
    return before;
  }

  ended(): readonly WorkerRow[] {
    return this.#file.sql("lease.ended").all(this.#file.clock.monotonic()) as WorkerRow[];
  }

  lose({ name, consumer, ends, duration }: WorkerRow): void {
    this.remove(name);
    this.#file.sql("lease.addLost").run(name, consumer, ends, duration);
    this.#file.sql("lease.forget").run(this.#file.clock.monotonic(), FORGET_LOST_MS);
  }

  remove(name: string): void {
    this.#file.sql("lease.remove").run(name);
  }

  /** Ends all loans of a worker and hands them over, in no order. */
  takeLoans(holder: number): readonly LoanRow[] {
    return this.#file.sql("lease.takeLoans").all(holder) as LoanRow[];
  }

  list(): readonly { readonly name: string; readonly ends: number; readonly loans: number }[] {
    return this.#file.sql("lease.list").all() as { name: string; ends: number; loans: number }[];
  }
}
