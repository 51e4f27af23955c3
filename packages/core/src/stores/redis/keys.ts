/**
 * The names of all keys and channels. Celery's are as kombu writes them (celery-protocol.md, sections 3.1 and 6.2); what only
 * Lovage reads begins with `lovage:`. A shard is one Redis and one prefix; later, on a cluster, the prefix holds the hash tag.
 */
import type { BrokerOptions } from "./options.ts";

/** Where a set of keys that must be reachable from one script lives. */
export interface Shard {
  /** In front of every key and every channel. */
  readonly prefix: string;
}

type Separated = Shard & Pick<BrokerOptions, "separator">;

/** What a priority step adds to a queue's name: nothing for step 0. */
export const stepSuffix = (shard: Separated, step: number): string => (step === 0 ? "" : `${shard.separator}${step}`);
/** The list of one queue at one priority step. */
export const listKey = (shard: Separated, queue: string, step: number): string => shard.prefix + queue + stepSuffix(shard, step);
export const bindingKey = (shard: Shard, exchange: string): string => `${shard.prefix}_kombu.binding.${exchange}`;
/** kombu's keys for loans of Python workers; `name` as the transport options have it. */
export const unackedKey = (shard: Shard, name: string): string => shard.prefix + name;
export const fanoutChannel = (
  shard: Shard,
  options: Pick<BrokerOptions, "fanoutPrefix" | "fanoutPatterns">,
  exchange: string,
  routingKey: string,
): string => shard.prefix + options.fanoutPrefix + exchange + (options.fanoutPatterns && routingKey !== "" ? `/${routingKey}` : "");

/** Hash: loan -> list, newline, envelope; and `@epoch`. Owned by the worker, swept with its lease. */
export const loansKey = (shard: Shard, worker: string): string => `${shard.prefix}lovage:loans:${worker}`;
/** List: what arrived for a waiting worker from one list and has no loan number yet. Swept with the loans. */
export const inboxKey = (shard: Shard, worker: string, list: string): string =>
  `${shard.prefix}lovage:inbox:${worker}:${list.slice(shard.prefix.length)}`;
/** Set: the lists that a worker has an inbox for. */
export const inboxesKey = (shard: Shard, worker: string): string => `${shard.prefix}lovage:inboxes:${worker}`;
/** Sorted set: worker -> lease end, ms by Redis's clock. */
export const workersKey = (shard: Shard): string => `${shard.prefix}lovage:workers`;
/** Sorted set: swept worker -> until when a blocking read of it may still fill its inboxes, ms. */
export const gravesKey = (shard: Shard): string => `${shard.prefix}lovage:graves`;
/** String with a TTL: names the last time that the worker's loans were taken away; with `=` in front, the worker has heard of it. */
export const sweptKey = (shard: Shard, worker: string): string => `${shard.prefix}lovage:swept:${worker}`;
/** String with a TTL: held by the one who sweeps. */
export const sweepLockKey = (shard: Shard): string => `${shard.prefix}lovage:sweeping`;
/** Sorted set: loan, newline, list, newline, envelope -> due, ms. */
export const parkedKey = (shard: Shard, queue: string): string => `${shard.prefix}lovage:parked:${queue}`;
/** Sorted set: queue -> when its first parked message is due, or earlier; ms. */
export const dueKey = (shard: Shard): string => `${shard.prefix}lovage:due`;
/** Hash: what limits allow, `d:` and a name as the code says, `s:` and an id as was set by hand. */
export const limitSpecsKey = (shard: Shard): string => `${shard.prefix}lovage:limits`;
/** Sorted set: a limit's id -> its theoretical arrival time, ms. What is over is removed as new ones come. */
export const limitTatsKey = (shard: Shard): string => `${shard.prefix}lovage:limits:tats`;
/** Hash: a limit's id -> how many run under it. */
export const limitRunningKey = (shard: Shard): string => `${shard.prefix}lovage:limits:running`;
/** Sorted set: message -> start that is kept for it, ms; for seconds. And a hash: message -> in which limits it counts as running. */
export const keptStartsKey = (shard: Shard): string => `${shard.prefix}lovage:limits:kept`;
export const keptPlacesKey = (shard: Shard): string => `${shard.prefix}lovage:limits:kept-places`;
/** Hash: loan -> ids of limits. Owned by the worker, ended with its lease. */
export const limitHoldsKey = (shard: Shard, worker: string): string => `${shard.prefix}lovage:limits:holds:${worker}`;
/** Sorted set: workers that may hold places -> since when, ms. */
export const limitHoldersKey = (shard: Shard): string => `${shard.prefix}lovage:limits:holders`;
/** Set: queues in which a limit keeps messages waiting. */
export const limitQueuesKey = (shard: Shard): string => `${shard.prefix}lovage:limits:queues`;
/** Sorted set: messages of a queue that a limit keeps waiting (limit-rules.lua). Purged with the queue. */
export const limitLineKey = (shard: Shard, queue: string): string => `${shard.prefix}lovage:limits:line:${queue}`;
/** Sorted set: a limit's id -> when the first that waits in the queue may have its turn, ms. */
export const limitTurnsKey = (shard: Shard, queue: string): string => `${shard.prefix}lovage:limits:turns:${queue}`;
/** Hash with a TTL: who holds the lock of a unique task (end-unique.lua). */
export const uniqueKey = (shard: Shard, name: string): string => `${shard.prefix}lovage:unique:${name}`;
/** Sorted set: name of a lock -> when it ends by itself, ms. What is over is removed as new ones come. */
export const uniquesKey = (shard: Shard): string => `${shard.prefix}lovage:uniques`;
/** Hash: id -> record as JSON, newline, list, newline, envelope; and `@bytes`, their sum. Capped. */
export const deadKey = (shard: Shard, queue: string): string => `${shard.prefix}lovage:dead:${queue}`;
/** Sorted set: id -> order of arrival. Capped with the hash. */
export const deadIndexKey = (shard: Shard, queue: string): string => `${shard.prefix}lovage:dead-index:${queue}`;
/** Sorted set with a TTL, capped: mark of what is not to run -> when it was added, microseconds, each above those before. */
export const revokedKey = (shard: Shard): string => `${shard.prefix}lovage:revoked`;
/** Hash, capped: paused queue -> until when, newline, record as JSON. */
export const pausesKey = (shard: Shard): string => `${shard.prefix}lovage:paused`;
/** Channel: something is said there whenever that hash has changed. */
export const pausesChannel = (shard: Shard): string => `${shard.prefix}lovage:pauses`;
/** Sorted set: queue for replies that somebody opened -> when, ms. Who opens one removes those that are long past. */
export const replyQueuesKey = (shard: Shard): string => `${shard.prefix}lovage:reply-queues`;
/** Hash with a TTL: which of the last batches of a publishing connection were executed. */
export const publisherKey = (shard: Shard, publisher: string): string => `${shard.prefix}lovage:publisher:${publisher}`;
/** Sorted set with a TTL: workers that watch a set of lists -> until when, ms. */
export const watchersKey = (shard: Shard, lists: string): string => `${shard.prefix}lovage:watchers:${lists}`;

/** Sorted set: fair queue -> when one of its workers last looked, ms by Redis's clock. One entry a queue, until nothing of it is sorted. */
export const fairQueuesKey = (shard: Shard): string => `${shard.prefix}lovage:fair`;

/** What is kept of one fair queue; `fair-reserve.lua` says what is in each. All of it is gone when nothing waits and nothing runs, but for the settings. */
export interface FairKeys {
  readonly sorted: string;
  readonly keys: string;
  readonly ring: string;
  /** An operator's; capped. */
  readonly settings: string;
  readonly running: string;
  readonly bell: string;
  /** String with a TTL: held by the one who looks for loans that ended without a word. */
  readonly check: string;
}

export function fairKeys(shard: Shard, queue: string): FairKeys {
  const named = (what: string): string => `${shard.prefix}lovage:fair-${what}:${queue}`;
  return {
    sorted: named("sorted"),
    keys: named("keys"),
    ring: named("ring"),
    settings: named("settings"),
    running: named("running"),
    bell: named("bell"),
    check: named("check"),
  };
}

/** List: envelopes that are to become one message, the oldest first. There as long as it holds one; its group is among those that are due. */
export const aggregateKey = (shard: Shard, group: string): string => `${shard.prefix}lovage:aggregate:${group}`;
/** Hash of a queue: `@` -> how many messages its groups hold; `=` and a group -> 1. There as long as they hold one. */
export const aggregatedKey = (shard: Shard, queue: string): string => `${shard.prefix}lovage:aggregated:${queue}`;
/** Sorted set: group -> when it is due, ms. */
export const aggregatesKey = (shard: Shard): string => `${shard.prefix}lovage:aggregates`;

/** Key and channel of a result. `prefix` is the backend's own (`resolveResultPrefix`). */
export const resultKey = (prefix: string, taskId: string): string => `${prefix}celery-task-meta-${taskId}`;
/** A saved group; with `.j`, `.t` and `.s` behind it the parts of a chord, how many were added to it later, and its size. */
export const groupKey = (prefix: string, groupId: string): string => `${prefix}celery-taskset-meta-${groupId}`;
/** Hash with a TTL: what a batch is, its counts, and when what happened to it. Python producers give out places by HINCRBY of `total`. */
export const batchKey = (prefix: string, id: string): string => `${prefix}lovage:batch:${id}`;
/** String with a TTL: two bits for each place of a batch. */
export const batchStatesKey = (prefix: string, id: string): string => `${prefix}lovage:batch-states:${id}`;
/** Hash with a TTL: reservations of a batch's places, until what was reserved is published and who added it has ended. */
export const batchAddsKey = (prefix: string, id: string): string => `${prefix}lovage:batch-adds:${id}`;
/** Hash with a TTL: place -> child batch. */
export const batchChildrenKey = (prefix: string, id: string): string => `${prefix}lovage:batch-children:${id}`;
/** Sorted set with the TTL of the batch that lives longest: event and batch -> since when its callback is due, ms. */
export const batchDueKey = (prefix: string): string => `${prefix}lovage:batches-due`;
export const dueMember = ({ id, event }: { readonly id: string; readonly event: string }): string => `${event} ${id}`;
/** Sorted set with the TTL of the batch that lives longest: sealed batch -> when it last heard of a member, ms. */
export const batchesWaitingKey = (prefix: string): string => `${prefix}lovage:batches-waiting`;
/** Hash with a TTL: what Lovage keeps of a group beside Celery's keys (register-part.lua): `body`, the signature that is called at its end, and more. */
export const groupNotesKey = (prefix: string, groupId: string): string => `${prefix}lovage:group:${groupId}`;
/** Hash with a TTL: group that is complete -> who may end it until when, and what for (register-part.lua). */
export const dueGroupsKey = (prefix: string): string => `${prefix}lovage:due-groups`;
/** Sorted set with a TTL, capped: group that is open -> when it is looked at, should it be quiet; ms. */
export const openGroupsKey = (prefix: string): string => `${prefix}lovage:open-groups`;
/** Parts, added later, size, Lovage's own: in the order in which register-part.lua takes them. */
export const groupKeys = (prefix: string, groupId: string): readonly [string, string, string, string] => {
  const key = groupKey(prefix, groupId);
  return [`${key}.j`, `${key}.t`, `${key}.s`, groupNotesKey(prefix, groupId)];
};
