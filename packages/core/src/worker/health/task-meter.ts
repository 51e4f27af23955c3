/** Counts the life of every task: the observer behind `/metrics`. Adds to numbers in place and allocates next to nothing. */
import type { AnyTask } from "../../app/task.ts";
import type { Clock } from "../../shared/clock.ts";
import type { Refusal, TaskObserver } from "../observer.ts";
import type { Outcome } from "../outcome.ts";
import type { Request } from "../request.ts";
import { type RowLabels, TaskCounts, TaskRows } from "./task-counts.ts";

export class TaskMeter implements TaskObserver {
  readonly counts = new TaskCounts();
  readonly #clock: Clock;
  readonly #rows: TaskRows<AnyTask>;

  /** `onNewRow`: the rows are numbered in the order in which they are told. */
  constructor(clock: Clock, onNewRow: (labels: RowLabels) => void) {
    this.#clock = clock;
    this.#rows = new TaskRows(onNewRow);
  }

  get labels(): readonly RowLabels[] {
    return this.#rows.labels;
  }

  received(request: Request): void {
    const { eta } = request.received;
    request.readyAt = this.#clock.monotonic();
    if (eta) request.readyAt += Math.max(0, eta.at - this.#clock.now()); // until then nobody wanted it to start
    this.counts.noteReceived(this.#rowOf(request), request.delivery.losses > 0);
  }

  started(request: Request): void {
    const { startedAt = 0, readyAt } = request;
    this.counts.noteStarted(this.#rowOf(request), Math.max(0, startedAt - readyAt));
  }

  ended(request: Request, outcome: Outcome, runtimeMs: number | undefined): void {
    this.counts.noteEnded(this.#rowOf(request), outcome.kind, runtimeMs);
  }

  lost(request: Request): void {
    this.counts.noteLost(this.#rowOf(request));
  }

  refused({ reason }: Refusal): void {
    this.counts.noteRefused(reason);
  }

  #rowOf({ task, received, delivery }: Request): number {
    return this.#rows.of(task, received.task, delivery.queue);
  }
}
