/** Messages that cannot or must not run any more, kept for people to look at, each with why. */

export interface DeadLetterRecord {
  /** Unique among dead letters: the task's id where known, else a fresh one. */
  readonly id: string;
  readonly task: string | undefined;
  readonly reason: DeadLetterReason;
  /** One line, no arguments in it. */
  readonly error: string;
  /** Where the error was thrown, where there was one: the frames without its text. At most a few thousand characters. */
  readonly stack?: string;
  readonly worker: string;
  /** When it was given up, ms since 1970. */
  readonly at: number;
  readonly losses: number;
  readonly retries: number;
}

/** `failed`: with an error that is not retried; `retriesExhausted`: after the last of its retries. */
export type DeadLetterReason = (typeof DEAD_LETTER_REASONS)[number];

export const DEAD_LETTER_REASONS = ["undecodable", "unknownTask", "poison", "failed", "retriesExhausted", "rejected", "expired"] as const;

export interface DeadLetter extends DeadLetterRecord {
  readonly queue: string;
  readonly raw: string | Uint8Array;
}

export interface DeadLetters {
  /**
   * Newest first. `cursor` comes from the page before. One page looks at a bounded number of letters, however many there
   * are: with a filter it may hold few or none, and there is more as long as it has a cursor.
   */
  page(queue: string, options: DeadLetterPageOptions): Promise<DeadLetterPage>;
  /** The newest of that id. */
  get(queue: string, id: string): Promise<DeadLetter | undefined>;
  /** How many there are for each reason that occurs. Looks at all of them, in portions. */
  count(queue: string, filter?: DeadLetterFilter): Promise<DeadLetterCounts>;
  /**
   * Moves one to the back of its queue as a message that begins anew (`begunAnew` in envelope-edits.ts): a fresh delivery
   * tag, no losses, no retries behind it; all else is untouched. False when it is not there.
   */
  restore(queue: string, id: string, options?: RestoreOptions): Promise<boolean>;
  /** Discards one. False when it is not there. */
  remove(queue: string, id: string): Promise<boolean>;
  /** Discards what is older than the age cap in these queues, a bounded number in one call. Returns how many. */
  expire(queues: readonly string[]): Promise<number>;
  /** Discards all that match, in portions. Returns how many. */
  purge(queue: string, filter?: DeadLetterFilter): Promise<number>;
}

/** A letter must satisfy all that is given. */
export interface DeadLetterFilter {
  readonly reasons?: readonly DeadLetterReason[];
  readonly tasks?: readonly string[];
  /** Given up at or after this, ms since 1970. */
  readonly since?: number;
  /** Given up before this, ms since 1970. */
  readonly before?: number;
}

export interface DeadLetterPageOptions {
  readonly limit: number;
  readonly cursor?: string;
  readonly filter?: DeadLetterFilter;
}

export interface RestoreOptions {
  /** Goes to the queue instead of the envelope that was kept: the same message with other arguments. */
  readonly raw?: string;
}

export type DeadLetterCounts = Readonly<Partial<Record<DeadLetterReason, number>>>;

/** What a queue keeps of its dead letters. When one arrives the oldest make room, and the newest always stays; `expire` heeds the age alone. */
export interface DeadLetterCaps {
  readonly max: number;
  /** Of envelopes and records; Infinity for no limit. */
  readonly maxBytes: number;
  /** Infinity for no limit. */
  readonly maxAgeMs: number;
}

export interface DeadLetterPage {
  readonly entries: readonly DeadLetter[];
  readonly cursor: string | undefined;
}
