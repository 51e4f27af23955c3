/**
 * The lists of the queues a worker consumes, in the order in which they are tried: all queues at one priority step before
 * the next step, as kombu does (celery-protocol.md, section 3.5). Within a step the queues share what is wanted, and the
 * first one rotates; `priority` and `sorted` keep a fixed order, and take all of a queue before the next. A worker's own order
 * (`queue-order.ts`) goes queue by queue, and in each by its steps.
 */
import { fairKeys, listKey, type FairKeys, type Shard } from "../../stores/redis/keys.ts";
import type { BrokerOptions } from "../../stores/redis/options.ts";
import { countByQueue, type QueueOrder, QueueTurns, type TakePlan, type TakeStep } from "../queue-order.ts";
import type { PausedQueues } from "../queue-pauses.ts";
import type { QueueList } from "./delivery.ts";

export interface ListOrder {
  readonly lists: readonly QueueList[];
  /** How many of them, from the first on, share what is wanted; then the next so many. As reserve.lua reads it. */
  readonly groups: readonly number[];
  /** What it follows, where the worker has an order of its own. */
  readonly plan?: TakePlan;
}

/** A queue whose messages are taken by turns among their keys. */
export interface FairQueue {
  readonly queue: string;
  readonly keys: FairKeys;
  /** By priority step. */
  readonly lists: readonly QueueList[];
  /** Rung for one worker when a key that waited may have its turn. */
  readonly bell: QueueList;
}

export class QueueLists {
  /** Those that are not fair. */
  readonly queues: readonly string[];
  readonly fair: readonly FairQueue[];
  /** What messages, and the ringing of bells, come from. */
  readonly all: readonly QueueList[];
  readonly #orders: readonly ListOrder[];
  readonly #turns: QueueTurns | undefined;
  readonly #byQueue: ReadonlyMap<string, readonly QueueList[]>;
  #turn = 0;

  constructor(shard: Shard, options: BrokerOptions, queues: readonly string[], fair: ReadonlySet<string> = new Set(), own?: QueueOrder) {
    const named = options.queueOrder === "sorted" ? queues.toSorted() : [...new Set(queues)];
    this.#turns = own && new QueueTurns(own, queues);
    this.queues = named.filter((queue) => !fair.has(queue));
    this.fair = named.filter((queue) => fair.has(queue)).map((queue) => fairQueue(shard, options, queue));
    const rotates = options.queueOrder === "round_robin";
    const order = (first: number): ListOrder => {
      const rotated = [...this.queues.slice(first), ...this.queues.slice(0, first)];
      const lists = options.prioritySteps.flatMap((step) =>
        rotated.map((queue) => ({ queue, list: listKey({ ...shard, separator: options.separator }, queue, step) })),
      );
      return { lists, groups: rotates ? options.prioritySteps.map(() => this.queues.length) : lists.map(() => 1) };
    };
    this.#orders = rotates && this.queues.length > 0 ? this.queues.map((_, first) => order(first)) : [order(0)];
    const plain = this.#orders[0]?.lists ?? [];
    this.all = [...this.fair.flatMap(({ lists, bell }) => [...lists, bell]), ...plain];
    this.#byQueue = new Map(this.queues.map((queue) => [queue, plain.filter((list) => list.queue === queue)]));
  }

  /** For a reserve of so many, without queues that are paused. `came` or `failed` tells what became of it. */
  next(want = 1, paused?: PausedQueues): ListOrder {
    if (this.#turns) {
      const plan = this.#turns.plan(want, (queue) => !paused?.has(queue));
      return { ...this.orderOf(plan.steps), plan };
    }
    this.#turn = (this.#turn + 1) % this.#orders.length;
    const order = this.#orders[this.#turn] as ListOrder; // the index is within the array
    return paused?.isAny ? without(order, paused) : order;
  }

  came({ plan }: ListOrder, taken: Iterable<{ readonly queue: string }>): void {
    if (plan) this.#turns?.took(plan, countByQueue(taken));
  }

  failed({ plan }: ListOrder): void {
    if (plan) this.#turns?.dropped(plan);
  }

  /** Of those that are not fair. */
  orderOf(steps: readonly TakeStep[]): ListOrder {
    const lists: QueueList[] = [];
    const groups: number[] = [];
    for (const { queue, most } of steps) {
      const own = this.#byQueue.get(queue);
      if (own === undefined) continue;
      lists.push(...own);
      groups.push(-own.length, most);
    }
    return { lists, groups };
  }
}

function without({ lists, groups }: ListOrder, paused: PausedQueues): ListOrder {
  let first = 0;
  const left: QueueList[] = [];
  const sizes = groups.map((size) => {
    const open = lists.slice(first, (first += size)).filter(({ queue }) => !paused.has(queue));
    left.push(...open);
    return open.length;
  });
  return { lists: left, groups: sizes };
}

function fairQueue(shard: Shard, options: BrokerOptions, queue: string): FairQueue {
  const keys = fairKeys(shard, queue);
  const lists = options.prioritySteps.map((step) => ({
    queue,
    list: listKey({ ...shard, separator: options.separator }, queue, step),
    fair: keys,
  }));
  return { queue, keys, lists, bell: { queue, list: keys.bell, fair: keys } };
}
