/** How each capsule of a worker is, in memory that the main thread writes and the guard thread reads; as `vitals.ts` for the whole. */
import type { CapsuleStatus } from "../worker-options.ts";

const FIELDS = ["isConsuming", "slots", "running", "waiting", "scheduled", "onLoan"] as const;

export type CapsuleVital = (typeof FIELDS)[number];

export interface CapsuleRow extends Readonly<Record<CapsuleVital, number>> {
  readonly name: string;
}

export class CapsuleVitals {
  readonly memory: SharedArrayBuffer;
  readonly #names: readonly string[];
  readonly #cells: Float64Array;

  constructor(names: readonly string[], memory = new SharedArrayBuffer(names.length * FIELDS.length * Float64Array.BYTES_PER_ELEMENT)) {
    this.#names = names;
    this.memory = memory;
    this.#cells = new Float64Array(memory);
  }

  /** In the order of the names; none before the worker has begun. */
  write(all: readonly CapsuleStatus[]): void {
    for (const [at, capsule] of all.entries()) {
      const { consuming, slots, running, waiting, scheduled, onLoan } = capsule;
      this.#cells.set([Number(consuming), slots, running, waiting, scheduled, onLoan], at * FIELDS.length);
    }
  }

  read(): readonly CapsuleRow[] {
    return this.#names.map((name, at) => {
      const of = (vital: CapsuleVital): number => this.#cells[at * FIELDS.length + FIELDS.indexOf(vital)] as number;
      return {
        name,
        isConsuming: of("isConsuming"),
        slots: of("slots"),
        running: of("running"),
        waiting: of("waiting"),
        scheduled: of("scheduled"),
        onLoan: of("onLoan"),
      };
    });
  }
}
