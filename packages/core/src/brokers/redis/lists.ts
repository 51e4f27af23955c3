/**
 * The lists of the queues a worker consumes, in the order in which they are tried: all queues at one priority step before
 * the next step, as kombu does (celery-protocol.md, section 3.5). Within a step the queues share what is wanted, and the
 * first one rotates; `priority` and `sorted` keep a fixed order, and take all of a queue before the next.
 */
import { fairKeys, listKey, type FairKeys, type Shard } from "../../stores/redis/keys.ts";
import type { BrokerOptions } from "../../stores/redis/options.ts";
import type { PausedQueues } from "../queue-pauses.ts";
import type { QueueList } from "./delivery.ts";

export interface ListOrder {
  readonly lists: readonly QueueList[];
  /** How many of them, from the first on, share what is wanted; then the next so many. */
  readonly groups: readonly number[];
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
  #turn = 0;

  constructor(shard: Shard, options: BrokerOptions, queues: readonly string[], fair: ReadonlySet<string> = new Set()) {
    const named = options.queueOrder === "sorted" ? queues.toSorted() : [...new Set(queues)];
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
    this.all = [...this.fair.flatMap(({ lists, bell }) => [...lists, bell]), ...(this.#orders[0]?.lists ?? [])];
  }

  /** Without those that are paused. */
  next(paused?: PausedQueues): ListOrder {
    this.#turn = (this.#turn + 1) % this.#orders.length;
    const order = this.#orders[this.#turn] as ListOrder; // the index is within the array
    return paused?.isAny ? without(order, paused) : order;
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
