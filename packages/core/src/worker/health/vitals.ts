/**
 * What a worker's main thread lets the guard thread see of it: numbers in shared memory, written by the main thread
 * alone, so that they can be read while it is blocked. Times are of the monotonic clock, which is one for all threads.
 * The guard adds what it sees itself: the age of `turnedAt` is how long the main thread's event loop has stood still.
 */
import type { WorkerState } from "../life.ts";

export const VITALS = [
  /** Index in `STATES`. */
  "state",
  "isConsuming",
  /** When the event loop of the main thread last turned. */
  "turnedAt",
  /** How long that loop has turned without having seen an answer of the broker. */
  "silentMs",
  /** Connections to the broker that the consumer has made. */
  "connects",
  "slots",
  "running",
  "waiting",
  "scheduled",
  "onLoan",
  "prefetch",
  "loopActiveMs",
  "heapUsed",
  "heapTotal",
  "external",
] as const;

export type Vital = (typeof VITALS)[number];

const STATE_NUMBERS: Readonly<Record<WorkerState, number>> = {
  new: 0,
  starting: 1,
  running: 2,
  quiet: 3,
  warm: 4,
  soft: 5,
  cold: 6,
  stopped: 7,
};
export const STATES = Object.keys(STATE_NUMBERS) as readonly WorkerState[];

/** The main thread tells that its loop turns this often; less than that is no block. */
export const TURN_MS = 250;

/** Upper bounds in seconds of the histogram of the event loop's lag. */
export const LAG_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

const INDEX = new Map(VITALS.map((vital, index) => [vital, index]));
const LAG_AT = VITALS.length;
/** One for each bucket, one beyond the last, and the sum. */
const CELLS = LAG_AT + LAG_BUCKETS.length + 2;

export class Vitals {
  readonly memory: SharedArrayBuffer;
  readonly #cells: Float64Array;

  constructor(memory = new SharedArrayBuffer(CELLS * Float64Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#cells = new Float64Array(memory);
  }

  get(vital: Vital): number {
    return this.#cells[INDEX.get(vital) as number] as number;
  }

  set(vital: Vital, value: number): void {
    this.#cells[INDEX.get(vital) as number] = value;
  }

  get state(): WorkerState {
    return STATES[this.get("state")] ?? "new";
  }

  set state(state: WorkerState) {
    this.set("state", STATE_NUMBERS[state]);
  }

  noteLag(seconds: number): void {
    const bucket = LAG_BUCKETS.findIndex((bound) => seconds <= bound);
    this.#add(LAG_AT + (bucket < 0 ? LAG_BUCKETS.length : bucket), 1);
    this.#add(CELLS - 1, seconds);
  }

  /** Samples for each bucket and beyond the last one; not cumulative. */
  get lag(): { readonly counts: readonly number[]; readonly sum: number } {
    return { counts: [...this.#cells.subarray(LAG_AT, CELLS - 1)], sum: this.#cells[CELLS - 1] as number };
  }

  #add(cell: number, by: number): void {
    this.#cells[cell] = (this.#cells[cell] as number) + by;
  }
}
