/**
 * Collects messages of tasks that take many at once, until there are as many as the task takes or the first has waited
 * long enough. What is collected holds its loan and no slot, and has not begun: it can be given back at any time.
 *
 * Taken from the broker is what has a free slot; while a batch is open, more is asked for, up to what it can still hold and twice
 * what has come to it. So a flood fills a batch in a few steps, and a queue of other tasks does not fill this worker.
 */
import type { Clock, Timer } from "../shared/clock.ts";
import type { ResolvedBatch } from "../app/batch-task.ts";
import type { LoanCredit } from "./credit.ts";
import type { Request } from "./request.ts";

export interface GatheringDeps {
  readonly clock: Clock;
  readonly credit: LoanCredit;
  /** A batch is closed. Its members count as busy and as on loan no more. */
  closed(members: readonly Request[]): void;
}

interface Open {
  members: Request[];
  readonly timer: Timer;
  readonly rules: ResolvedBatch;
  /** Room that was asked for it. */
  room: number;
}

export class Gathering {
  readonly #deps: GatheringDeps;
  readonly #open = new Map<string, Open>();

  constructor(deps: GatheringDeps) {
    this.#deps = deps;
  }

  get size(): number {
    let size = 0;
    for (const { members } of this.#open.values()) size += members.length;
    return size;
  }

  /** It has a loan and counts as busy; from now on it counts as neither. */
  add(request: Request, rules: ResolvedBatch): void {
    const { credit } = this.#deps;
    const { task } = request.received;
    const batch = this.#open.get(task) ?? this.#begin(task, rules);
    batch.members.push(request);
    const room = Math.min(rules.size - batch.members.length, 2 * batch.members.length);
    credit.addRoom(room - batch.room);
    batch.room = room;
    credit.freeSlot();
    credit.freeLoan();
    if (batch.members.length >= rules.size) this.#close(task, batch);
  }

  #begin(task: string, rules: ResolvedBatch): Open {
    const timer = this.#deps.clock.timer(rules.waitMs, () => this.#close(task, batch));
    const batch: Open = { members: [], timer, rules, room: 0 };
    this.#open.set(task, batch);
    return batch;
  }

  #close(task: string, batch: Open): void {
    this.#forget(task, batch);
    if (batch.members.length > 0) this.#deps.closed(batch.members);
  }

  #forget(task: string, batch: Open): void {
    batch.timer.cancel();
    this.#deps.credit.addRoom(-batch.room);
    if (this.#open.get(task) === batch) this.#open.delete(task);
  }

  /** Takes out all that match. They count as nothing. */
  takeWhere(matches: (request: Request) => boolean): Request[] {
    const taken: Request[] = [];
    for (const [task, batch] of this.#open) {
      const stay = batch.members.filter((request) => !matches(request));
      if (stay.length === batch.members.length) continue;
      taken.push(...batch.members.filter(matches));
      batch.members = stay;
      if (stay.length === 0) this.#forget(task, batch);
    }
    return taken;
  }
}
