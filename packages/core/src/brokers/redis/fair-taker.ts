/**
 * Reserves for a worker that consumes fair queues too: what is free is shared among them and the plain queues, and each fair queue is
 * asked by a script of its own, which sorts what has come before it lends (`fair-reserve.lua`).
 *
 * A worker that waits is woken by a message, as for any queue, or by the bell of the queue. What woke it waits in its inbox until the
 * script has sorted it: it may be of a key that has no turn now, so that it is never begun with before.
 */
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { asList, asNumber } from "../../stores/redis/answers.ts";
import { fairQueuesKey, inboxKey } from "../../stores/redis/keys.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { TakeStep } from "../queue-order.ts";
import type { PausedQueues } from "../queue-pauses.ts";
import type { RedisContext } from "./context.ts";
import type { QueueList } from "./delivery.ts";
import type { FairQueue, QueueLists } from "./lists.ts";
import { NOT_IN_FORCE, type Reserved, type ReserveRequest, type WorkerSession } from "./session.ts";

const reserveScript = loadScript("fair-reserve");

/** Of one script: three milliseconds or so of Redis. */
const SORTED_AT_ONCE = 1000;
const SORTED_BYTES = 4 * 1024 * 1024;
/** How often a queue is marked as one that is taken fairly. */
const MARK_EVERY_MS = 5000;
const NOTHING: Reserved = { deliveries: [], count: 0, emptied: new Set(), full: false };

/** What a consumer reserves through. */
export interface Taker {
  reserve(request: ReserveRequest, signal?: AbortSignal): Promise<Reserved>;
}

/** Queues that are asked together. */
interface Group {
  readonly queues: number;
  readonly fair: FairQueue | undefined;
}

export class FairTaker implements Taker {
  readonly #context: RedisContext;
  readonly #session: WorkerSession;
  readonly #lists: QueueLists;
  readonly #groups: readonly Group[];
  readonly #paused: PausedQueues | undefined;
  readonly #markedAt = new Map<string, number>();
  #turn = 0;

  constructor(context: RedisContext, session: WorkerSession, lists: QueueLists, paused: PausedQueues | undefined) {
    const { queues, fair } = lists;
    this.#context = context;
    this.#lists = lists;
    this.#session = session;
    this.#paused = paused;
    const plain: readonly Group[] = queues.length === 0 ? [] : [{ queues: queues.length, fair: undefined }];
    this.#groups = [...plain, ...fair.map((each) => ({ queues: 1, fair: each }))];
  }

  /** By turns: a group that gives all it is asked for is asked again for what others left. */
  async reserve(request: ReserveRequest, signal?: AbortSignal): Promise<Reserved> {
    const { plan } = request.order;
    if (plan && request.want > 0) return await this.#follow(plan.steps, request, signal);
    const turn = request.claim === undefined ? this.#turn++ % this.#groups.length : 0; // a claim is a plain queue's, and comes first
    let open = [...this.#groups.slice(turn), ...this.#groups.slice(0, turn)];
    let left = request.want;
    let all = NOTHING;
    for (let isFirst = true; open.length > 0 && (isFirst || left > 0); isFirst = false) {
      const queues = open.reduce((sum, group) => sum + group.queues, 0);
      const shared = left;
      const generous: Group[] = [];
      for (const group of open) {
        const want = Math.min(left, Math.ceil((shared * group.queues) / queues));
        const reserved = await this.#ask(group, want, request, isFirst, signal);
        all = joined(all, reserved);
        left -= reserved.count;
        if (want > 0 && reserved.count === want) generous.push(group);
      }
      open = generous;
    }
    return all;
  }

  /** A worker with an order of its own: what arrived in inboxes, then each step; plain queues that follow each other by one script. */
  async #follow(steps: readonly TakeStep[], request: ReserveRequest, signal?: AbortSignal): Promise<Reserved> {
    const { claim, begin, ...rest } = request;
    const inboxes = request.inboxes.filter(({ source }) => source.fair === undefined);
    let all = NOTHING;
    const take = async (taking: Promise<Reserved>): Promise<void> => {
      const taken = await taking;
      all = joined(all, taken);
    };
    const left = (): number => request.want - all.count;
    if (inboxes.length > 0)
      await take(this.#session.reserve({ ...rest, inboxes, order: this.#lists.orderOf([]), claim, ...(begin && { begin }) }, signal));
    const plain: TakeStep[] = [];
    const woken = new Set(request.inboxes.map(({ source }) => source.fair));
    const takePlain = async (): Promise<void> => {
      const order = this.#lists.orderOf(plain.splice(0));
      if (left() > 0 && order.lists.length > 0) await take(this.#session.reserve({ ...rest, want: left(), inboxes: [], order }, signal));
    };
    for (const step of steps) {
      const fair = this.#lists.fair.find(({ queue }) => queue === step.queue);
      if (fair === undefined) {
        plain.push(step);
        continue;
      }
      await takePlain();
      const want = Math.min(left(), step.most);
      if (want > 0) await take(this.#reserveFairly(fair, want, request.maxBytes, signal));
      if (want > 0) woken.delete(fair.keys);
    }
    await takePlain();
    // What woke this worker, and found no slot left, is another's.
    for (const fair of this.#lists.fair) if (woken.has(fair.keys)) await this.#reserveFairly(fair, 0, request.maxBytes, signal);
    return all;
  }

  /** With the first asking goes what arrived in inboxes; with no free slot, as in a heartbeat, there is still something to sort. */
  async #ask({ fair }: Group, want: number, request: ReserveRequest, isFirst: boolean, signal?: AbortSignal): Promise<Reserved> {
    const inboxes = isFirst ? request.inboxes.filter(({ source }) => source.fair === fair?.keys) : [];
    if (fair !== undefined) {
      if (want === 0 && !isFirst) return NOTHING;
      return await this.#reserveFairly(fair, this.#paused?.has(fair.queue) ? 0 : want, request.maxBytes, signal);
    }
    if (want === 0 && inboxes.length === 0) return NOTHING;
    const { claim, begin, ...plain } = request;
    return await this.#session.reserve({ ...plain, want, inboxes, ...(isFirst && { claim, begin }) }, signal);
  }

  async #reserveFairly(fair: FairQueue, want: number, maxBytes: number, signal?: AbortSignal): Promise<Reserved> {
    const session = this.#session;
    let patience: number | undefined;
    for (let round = 0; ; round += 1) {
      const connection = await session.connection(signal);
      const first = session.number(want);
      const isForced = patience !== undefined && round > patience;
      const answer = await this.#run(connection, fair, [first, want, maxBytes], isForced);
      if (answer === NOT_IN_FORCE) {
        session.detached(connection);
        continue;
      }
      const [full, unsorted, indexes, ...envelopes] = asList(answer);
      const rest = asNumber(unsorted);
      patience ??= round + Math.ceil(rest / SORTED_AT_ONCE); // what comes meanwhile must not keep it sorting for ever
      if (rest > 0 && envelopes.length === 0 && !isForced && full === 0) continue;
      const deliveries = asList(indexes).map((index, i) => {
        const source = fair.lists[(asNumber(index) - FIRST_LIST) / 2] as QueueList; // the script answers with indexes of the keys it was given
        return session.own(first + i, source, envelopes[i] as Buffer);
      });
      return { deliveries, count: deliveries.length, emptied: new Set(), full: full === 1 };
    }
  }

  async #run(connection: RedisConnection, { queue, keys, lists, bell }: FairQueue, numbers: readonly number[], isForced: boolean) {
    const { shard, clock } = this.#context;
    const { worker, loansKey, epoch, prefix } = this.#session;
    const isToMark = clock.monotonic() - (this.#markedAt.get(queue) ?? Number.NEGATIVE_INFINITY) >= MARK_EVERY_MS;
    if (isToMark) this.#markedAt.set(queue, clock.monotonic());
    const names = [
      loansKey, keys.sorted, keys.keys, keys.ring, keys.settings, keys.running, keys.bell,
      inboxKey(shard, worker, bell.list),
      fairQueuesKey(shard),
      ...lists.flatMap(({ list }) => [inboxKey(shard, worker, list), list]),
    ]; // prettier-ignore
    const args = [epoch, prefix, ...numbers, SORTED_AT_ONCE, SORTED_BYTES, isForced ? "1" : "", worker, isToMark ? queue : ""];
    return await connection.script(reserveScript, names, args);
  }
}

/** KEYS of the script. */
const FIRST_LIST = 11;

function joined(a: Reserved, b: Reserved): Reserved {
  if (a === NOTHING) return b;
  return {
    deliveries: [...a.deliveries, ...b.deliveries],
    count: a.count + b.count,
    emptied: new Set([...a.emptied, ...b.emptied]),
    full: a.full || b.full,
  };
}
