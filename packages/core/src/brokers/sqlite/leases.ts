/** Leases over the database: who holds one, and what becomes of the loans of who lost it. */
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import type { DeadLetterCaps, LeaseInfo, Leases, LeaseState, SweepOptions, SweepReport } from "../broker.ts";
import { LeaseRows, type WorkerRow } from "./lease-rows.ts";
import { loseLoans } from "./losses.ts";
import { MessageRows } from "./message-rows.ts";

export interface SqliteLeasesOptions {
  readonly file: SqliteFile;
  readonly timeoutMs: number;
  readonly deadLetterCaps: DeadLetterCaps;
}

export class SqliteLeases implements Leases {
  readonly #options: SqliteLeasesOptions;
  readonly #file: SqliteFile;
  readonly #workers: LeaseRows;
  readonly #messages: MessageRows;
  readonly #renewed = new Set<string>();
  #sweptAt: number | undefined;
  #patientUntil = -Infinity;

  constructor(options: SqliteLeasesOptions) {
    this.#options = options;
    this.#file = options.file;
    this.#workers = new LeaseRows(options.file);
    this.#messages = new MessageRows(options.file);
  }

  async renew(worker: string, durationMs: number): Promise<LeaseState> {
    const before = await this.#file
      .write(() => this.#workers.renew(worker, durationMs), this.#options)
      .catch((error: unknown) => {
        this.#patientUntil = this.#file.clock.monotonic() + durationMs; // a full disk: nobody could renew, and nobody is dead for it
        throw error;
      });
    const held = before === undefined ? !this.#renewed.has(worker) : before.lost === 0;
    this.#renewed.add(worker);
    if (!held) this.#file.bell.ring("ready"); // a consumer that was lent nothing while its lease was lost
    return { held, clockOffsetMs: 0 };
  }

  async sweep({ maxDeliveries, leaseMs }: SweepOptions): Promise<SweepReport> {
    const total = { returned: 0, deadLettered: 0, workers: [] as string[] };
    if (this.#justWokeUp(leaseMs)) return total;
    if ((await this.#file.read(() => this.#workers.ended(), this.#options)).length === 0) return total;
    const swept = await this.#file.write(
      () => this.#workers.ended().map((worker) => this.#sweepWorker(worker, maxDeliveries)),
      this.#options,
    );
    for (const { worker, returned, buried } of swept) {
      total.returned += returned;
      total.deadLettered += buried;
      total.workers.push(worker.name);
    }
    if (total.returned > 0) this.#file.bell.ring("ready");
    return total;
  }

  async release(worker: string): Promise<number> {
    this.#renewed.delete(worker);
    const count = await this.#file.write(() => {
      const row = this.#workers.find(worker);
      if (row === undefined) return 0;
      const loans = this.#workers.takeLoans(row.holder);
      this.#workers.remove(worker);
      for (const { message } of loans) this.#messages.markRedelivered(message);
      this.#messages.returned(loans);
      return loans.length;
    }, this.#options);
    if (count > 0) this.#file.bell.ring("ready");
    return count;
  }

  async list(): Promise<readonly LeaseInfo[]> {
    const rows = await this.#file.read(() => this.#workers.list(), this.#options);
    const sinceEpoch = this.#file.clock.now() - this.#file.clock.monotonic();
    return rows.map(({ name, ends, loans }) => ({ worker: name, endsAt: ends + sinceEpoch, loans }));
  }

  /**
   * When the machine slept, every lease has ended and every guard is late: who swept at once would take the loans of
   * the living. A sweeper that finds that it has not swept for long gives the others half a lease to say so.
   */
  #justWokeUp(leaseMs: number): boolean {
    const now = this.#file.clock.monotonic();
    const pauseMs = now - (this.#sweptAt ?? now);
    this.#sweptAt = now;
    if (pauseMs > 2 * leaseMs) this.#patientUntil = now + leaseMs / 2;
    return now < this.#patientUntil;
  }

  #sweepWorker(worker: WorkerRow, maxDeliveries: number) {
    const lost = loseLoans(this.#file, worker, { maxDeliveries, deadLetterCaps: this.#options.deadLetterCaps });
    this.#workers.lose(worker);
    return { worker, ...lost };
  }
}
