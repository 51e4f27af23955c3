/**
 * In which order a consumer takes from its queues, where that is not the usual one (all queues at one priority step before the next,
 * in equal shares). `strict`: nothing from a queue while one before it has messages. `weighted`: shares of what is taken, in proportion
 * to the weights, over any stretch in which the queues have messages; a queue that has none leaves its share to the others and saves
 * nothing up. Within one queue messages come by their priority.
 */
export type QueueOrder =
  | { readonly kind: "strict" }
  /** Queue -> its weight, 1 for one that is not named. */
  | { readonly kind: "weighted"; readonly weights: ReadonlyMap<string, number> };

/** From this queue at most so many; then the next step. */
export interface TakeStep {
  readonly queue: string;
  readonly most: number;
}

/** What one reserve is to take. */
export interface TakePlan {
  readonly steps: readonly TakeStep[];
  /** What of it is a queue's share; the steps after these fill up with what others leave. */
  readonly shares: ReadonlyMap<string, number>;
}

/** Plans each reserve of one consumer, several under way at once, and learns from what they brought. */
export class QueueTurns {
  readonly #queues: readonly string[];
  readonly #weights: ReadonlyMap<string, number> | undefined;
  /** Queue -> messages taken by its weight: whose number is least comes next. */
  readonly #served: Map<string, number>;

  constructor(order: QueueOrder, queues: readonly string[]) {
    this.#queues = [...new Set(queues)];
    this.#weights = order.kind === "weighted" ? order.weights : undefined;
    this.#served = new Map(this.#queues.map((queue) => [queue, 0]));
  }

  plan(want: number, isOpen: (queue: string) => boolean): TakePlan {
    const open = this.#queues.filter(isOpen);
    const shares = new Map<string, number>();
    if (this.#weights === undefined) return { steps: open.map((queue) => ({ queue, most: want })), shares };
    for (let left = want; left > 0 && open.length > 0; left--) {
      const next = this.#least(open);
      shares.set(next, (shares.get(next) ?? 0) + 1);
      this.#charge(next, 1); // for now: `took` puts it right
    }
    const fill = open.toSorted((a, b) => this.#of(a) - this.#of(b));
    const steps = [...Array.from(shares, ([queue, most]) => ({ queue, most })), ...fill.map((queue) => ({ queue, most: want }))];
    return { steps, shares };
  }

  /** `taken`: how many came from each queue. */
  took({ shares }: TakePlan, taken: ReadonlyMap<string, number>): void {
    if (this.#weights === undefined) return;
    for (const queue of this.#queues) this.#charge(queue, (taken.get(queue) ?? 0) - (shares.get(queue) ?? 0));
    const isEmpty = (queue: string): boolean => (taken.get(queue) ?? 0) < (shares.get(queue) ?? 0);
    const full = this.#queues.filter((queue) => (taken.get(queue) ?? 0) > 0 && !isEmpty(queue)).map((queue) => this.#of(queue));
    const floor = full.length > 0 ? Math.min(...full) : Math.max(...this.#queues.filter(isEmpty).map((queue) => this.#of(queue)));
    for (const queue of this.#queues) if (isEmpty(queue)) this.#served.set(queue, Math.max(this.#of(queue), floor));
  }

  /** Nothing is known of what it brought. */
  dropped({ shares }: TakePlan): void {
    for (const [queue, share] of shares) this.#charge(queue, -share);
  }

  #least(queues: readonly string[]): string {
    let least = queues[0] as string;
    for (const queue of queues) if (this.#of(queue) < this.#of(least)) least = queue;
    return least;
  }

  #of(queue: string): number {
    return this.#served.get(queue) ?? 0;
  }

  #charge(queue: string, count: number): void {
    this.#served.set(queue, this.#of(queue) + count / (this.#weights?.get(queue) ?? 1));
  }
}

/** How many of them came from each queue. */
export function countByQueue(taken: Iterable<{ readonly queue: string }>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { queue } of taken) counts.set(queue, (counts.get(queue) ?? 0) + 1);
  return counts;
}
