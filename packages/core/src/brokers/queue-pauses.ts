/**
 * Queues that workers leave alone until they are told otherwise: kept in the store, with who paused them, why and when.
 * Part of the broker's interface. A worker's knowledge of it (`worker/pauses.ts`) reaches consumers as `PausedQueues`.
 */

/** All times are ms since 1970, by the broker's clock. */
export interface QueuePause {
  readonly queue: string;
  /** "" when none was given. */
  readonly reason: string;
  /** Who: a person, a program. */
  readonly by: string;
  readonly at: number;
  /** It ends by itself then; undefined: when somebody resumes the queue. */
  readonly until: number | undefined;
}

export interface QueuePauses {
  /** From now on; a queue that is paused already is paused as these say. @throws TooManyPausesError */
  pause(pauses: readonly QueuePause[]): Promise<void>;
  /** Returns those that were paused. */
  resume(queues: readonly string[]): Promise<readonly string[]>;
  /** Those in force, by name. */
  list(): Promise<readonly QueuePause[]>;
  /** Calls `changed` when `list` may answer something new, and when that may have been missed, until `signal` aborts. May call it for nothing. */
  watch(signal: AbortSignal, changed: () => void): void;
}

/** What a consumer is told of them. */
export interface PausedQueues {
  /** False, which is usual: nothing need be looked up. */
  readonly isAny: boolean;
  has(queue: string): boolean;
  /** Returns what ends it. `listener` must not throw. */
  onChange(listener: () => void): () => void;
}

/** What one broker keeps. Who reaches it has a program that pauses queues and never resumes them. */
export const PAUSES_MAX = 10_000;

export const inForce = (pauses: Iterable<QueuePause>, now: number): QueuePause[] =>
  [...pauses].filter(({ until }) => until === undefined || until > now).toSorted((a, b) => (a.queue < b.queue ? -1 : 1));
