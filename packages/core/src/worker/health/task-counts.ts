/**
 * Counts of tasks in shared memory: one row of numbers for each task in each queue, written by the main thread and read
 * by the guard thread whenever it is asked, also while the main thread is blocked. What a row is of is told once, when
 * it is begun; counting is an addition in place.
 *
 * Bounded: beyond `ROWS_MAX` rows, all others share the last.
 */
import type { Refusal } from "../observer.ts";
import type { Outcome } from "../outcome.ts";

export interface RowLabels {
  readonly task: string;
  readonly queue: string;
}

export const OUTCOMES = [
  "succeeded",
  "failed",
  "retry",
  "snoozed",
  "yielded",
  "ignored",
  "replaced",
  "rejected",
  "timedOut",
  "revoked",
  "childLost",
  "interrupted",
  "leaseLost",
] as const satisfies readonly Outcome["kind"][];

/** Upper bounds in seconds. */
export const RUNTIME_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];
export const WAIT_BUCKETS = [0.001, 0.01, 0.1, 0.5, 1, 5, 10, 60, 300];

export const ROWS_MAX = 200;
const OTHERS: RowLabels = { task: "(others)", queue: "(others)" };

const OUTCOME_INDEX: Readonly<Record<Outcome["kind"], number>> = Object.fromEntries(OUTCOMES.map((kind, i) => [kind, i])) as never; // its keys are all of them

/** Where things stand in a row. A histogram is one number for each bucket, one beyond the last, and the sum. */
const RECEIVED = 0;
const STARTED = 1;
const AFTER_LOSS = 2;
const LOST = 3;
const ENDED = 4;
const RUNTIME = ENDED + OUTCOMES.length;
const WAIT = RUNTIME + RUNTIME_BUCKETS.length + 2;
const WIDTH = WAIT + WAIT_BUCKETS.length + 2;

export const REFUSALS = ["undecodable", "unknownTask", "poison"] as const satisfies readonly Refusal["reason"][];
const REFUSED = ROWS_MAX * WIDTH;
const CELLS = REFUSED + REFUSALS.length;

export interface Histogram {
  /** Not cumulative: one for each bucket and one beyond the last. */
  readonly counts: readonly number[];
  readonly sum: number;
}

export interface TaskRow extends RowLabels {
  readonly received: number;
  readonly started: number;
  /** Received again after a worker that held it died. */
  readonly afterLoss: number;
  /** Ran here, but its loan was gone: another worker runs it. */
  readonly lost: number;
  readonly ended: Readonly<Record<Outcome["kind"], number>>;
  readonly runtime: Histogram;
  readonly wait: Histogram;
}

export class TaskCounts {
  readonly memory: SharedArrayBuffer;
  readonly #cells: Float64Array;

  constructor(memory = new SharedArrayBuffer(CELLS * Float64Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#cells = new Float64Array(memory);
  }

  noteReceived(row: number, isAfterLoss: boolean): void {
    this.#add(row * WIDTH + RECEIVED, 1);
    if (isAfterLoss) this.#add(row * WIDTH + AFTER_LOSS, 1);
  }

  noteStarted(row: number, waitedMs: number): void {
    this.#add(row * WIDTH + STARTED, 1);
    this.#observe(row * WIDTH + WAIT, WAIT_BUCKETS, waitedMs / 1000);
  }

  noteEnded(row: number, kind: Outcome["kind"], runtimeMs: number | undefined): void {
    this.#add(row * WIDTH + ENDED + OUTCOME_INDEX[kind], 1);
    if (runtimeMs !== undefined) this.#observe(row * WIDTH + RUNTIME, RUNTIME_BUCKETS, runtimeMs / 1000);
  }

  noteLost(row: number): void {
    this.#add(row * WIDTH + LOST, 1);
  }

  noteRefused(reason: Refusal["reason"]): void {
    this.#add(REFUSED + REFUSALS.indexOf(reason), 1);
  }

  read(labels: readonly RowLabels[]): TaskRow[] {
    return labels.map(({ task, queue }, row) => {
      const at = row * WIDTH;
      const cell = (offset: number): number => this.#cells[at + offset] as number;
      return {
        task,
        queue,
        received: cell(RECEIVED),
        started: cell(STARTED),
        afterLoss: cell(AFTER_LOSS),
        lost: cell(LOST),
        ended: Object.fromEntries(OUTCOMES.map((kind, i) => [kind, cell(ENDED + i)])) as Record<Outcome["kind"], number>,
        runtime: this.#histogram(at + RUNTIME, RUNTIME_BUCKETS.length),
        wait: this.#histogram(at + WAIT, WAIT_BUCKETS.length),
      };
    });
  }

  refused(reason: Refusal["reason"]): number {
    return this.#cells[REFUSED + REFUSALS.indexOf(reason)] as number;
  }

  #histogram(at: number, buckets: number): Histogram {
    return { counts: [...this.#cells.subarray(at, at + buckets + 1)], sum: this.#cells[at + buckets + 1] as number };
  }

  #observe(at: number, buckets: readonly number[], seconds: number): void {
    let bucket = 0;
    while (bucket < buckets.length && seconds > (buckets[bucket] as number)) bucket++;
    this.#add(at + bucket, 1);
    this.#add(at + buckets.length + 1, seconds);
  }

  #add(cell: number, by: number): void {
    this.#cells[cell] = (this.#cells[cell] as number) + by;
  }
}

/** Gives each task in each queue its row. Knows tasks by object, so that finding one costs no look at its name. */
export class TaskRows<Task extends object> {
  readonly labels: RowLabels[] = [];
  readonly #rows = new Map<Task, Map<string, number>>();
  readonly #onNew: (labels: RowLabels) => void;

  constructor(onNew: (labels: RowLabels) => void) {
    this.#onNew = onNew;
  }

  of(task: Task, name: string, queue: string): number {
    const queues = this.#rows.get(task);
    return queues?.get(queue) ?? this.#begin(task, name, queue, queues);
  }

  #begin(task: Task, name: string, queue: string, queues = new Map<string, number>()): number {
    this.#rows.set(task, queues);
    const isFull = this.labels.length >= ROWS_MAX - 1;
    if (this.labels.length < ROWS_MAX) {
      const labels = isFull ? OTHERS : { task: name, queue };
      this.labels.push(labels);
      this.#onNew(labels);
    }
    const row = isFull ? ROWS_MAX - 1 : this.labels.length - 1;
    queues.set(queue, row);
    return row;
  }
}
