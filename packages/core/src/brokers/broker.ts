/**
 * What every broker can do, in batches: one round trip for many. All drivers pass test/conformance/broker.ts.
 * What only some can do is an optional part that the caller checks for, never a method that throws "not supported".
 *
 * A message's states in a broker: ready (in its queue) -> on loan to one worker -> settled (gone, back in its queue,
 * parked, or dead-lettered). Invariant: whoever crashes, it is in exactly one of them.
 */
import type { Aggregates } from "./aggregates.ts";
import type { DeliveryInfo, Message } from "../protocol/message.ts";
import type { GroupPart } from "../results/groups.ts";
import type { DueCallback } from "../results/batches.ts";
import type { ResultBackend, ResultWrite } from "../results/result-backend.ts";
import type { QueueOrder } from "./queue-order.ts";
import type { PausedQueues, QueuePauses } from "./queue-pauses.ts";
import type { Fairness } from "./fairness.ts";
import type { MessageSearch } from "./search.ts";
import type { UniqueRule } from "../protocol/unique.ts";
import type { Limits } from "./limits.ts";
import type { Uniques, UniqueStep } from "./uniques.ts";

export interface Broker extends AsyncDisposable {
  /** `redis`, `sqlite`, `memory`: for banners and logs. */
  readonly kind: string;
  /** Where it is, without credentials: `redis://127.0.0.1:6379/0`. */
  readonly location: string;

  /**
   * Resolves once the broker holds every message, not when the bytes are in a socket buffer.
   * @throws PublishError that tells for each message whether the broker holds it, refused it, or nobody knows.
   */
  publish(messages: readonly Outgoing[], options?: PublishOptions): Promise<void>;

  /**
   * Yields batches of deliveries as soon as there is at least one, never more than `credit.free()` in all.
   * Survives the broker's absence: it reconnects by itself and tells `events`. Ends when `signal` aborts; loans that
   * it made and did not yield are given back before it ends.
   */
  consume(queues: readonly string[], options: ConsumeOptions): AsyncIterable<readonly Delivery[]>;

  /**
   * Ends loans, and stores and publishes what follows from them, each settlement in one step.
   * Answers for each, in order: "lost" when the lease ran out and the message is or will be another worker's; then
   * nothing of that settlement was done. Waits out a broker's absence; rejects only when `signal` aborts.
   */
  settle(settlements: readonly Settlement[], options?: SettleOptions): Promise<readonly SettleAnswer[]>;

  /** Makes queues and their bindings known, so that named exchanges reach them. Cheap to repeat. */
  bind(queues: readonly QueueSpec[]): Promise<void>;
  depth(queues: readonly string[]): Promise<readonly QueueDepth[]>;
  /** Discards what is ready or parked in a queue, not what is on loan. Returns how many. */
  purge(queue: string): Promise<number>;
  /** Whether `settle` can store results of this backend in the same step as the ack. */
  settlesWith(backend: ResultBackend): boolean;

  /** Loans that are kept by a lease and swept when it runs out. Absent where a loan cannot outlive its worker. */
  readonly leases?: Leases;
  /** Parks what is due far ahead. */
  readonly delayed?: DelayedQueue;
  /** Fanout: every subscriber present gets a copy. For control and events. */
  readonly broadcast?: Broadcast;
  /** Remembers what is not to run, for workers that were not there when it was said. */
  readonly revocations?: Revocations;
  /** Keeps messages that cannot or must not run any more. */
  readonly deadLetters?: DeadLetters;
  /** Ends groups together with what follows from that. There where `settlesWith` can be true. */
  readonly groupEnds?: GroupEnds;
  /** Finds messages wherever they are. */
  readonly search?: MessageSearch;
  /** Publishes callbacks of batches once. There where `settlesWith` can be true. */
  readonly dueCallbacks?: DueCallbacks;
  /** Remembers which queues no worker is to take from. Consumers heed `ConsumeOptions.paused`, whoever has read it. */
  readonly pauses?: QueuePauses;
  /** Takes the messages of a queue by turns among their keys. */
  readonly fairness?: Fairness;
  /** Writes into a message that is on loan how far its task has come. */
  readonly checkpoints?: Checkpoints;
  /** Keeps messages that are to become one. */
  readonly aggregates?: Aggregates;
  /** Limits for all workers together. */
  readonly limits?: Limits;
  /** Locks of unique tasks. */
  readonly uniques?: Uniques;
}

export interface Outgoing {
  readonly message: Message;
  /** A named exchange, or "" for the queue that `routingKey` names. */
  readonly exchange: string;
  readonly routingKey: string;
  /** For `uniques.publish`, which takes the lock; `publish` does not look. */
  readonly unique?: UniqueRule | undefined;
}

export interface PublishOptions {
  /** Gives up waiting; what was written but not answered by then is reported as unknown. */
  readonly signal?: AbortSignal;
}

/** What became of one message of a publish that failed. `unknown`: sent, but the answer never came. */
export type PublishFate = "held" | "refused" | "unknown";

export interface ConsumeOptions {
  /** The worker's name, unique among live workers: loans and leases are kept under it. */
  readonly worker: string;
  readonly credit: Credit;
  readonly signal: AbortSignal;
  /** A batch is cut before it grows beyond this many bytes of envelopes; one message always fits. Default 16 MiB. */
  readonly maxBatchBytes?: number;
  readonly events?: ConsumerEvents;
  /** Queues that nothing is taken from, as long as they are among these. What was on its way when one came in may still be yielded. */
  readonly paused?: PausedQueues | undefined;
  /** Those of the queues whose messages are taken by turns among their keys. Brokers without `fairness` take them as they come. */
  readonly fair?: ReadonlySet<string>;
  /** Default: all queues at one priority step before the next, those of a step in equal shares. */
  readonly order?: QueueOrder | undefined;
}

/** How many more deliveries the worker can take now, and a way to wait until it can take any. */
export interface Credit {
  free(): number;
  /** Resolves when `free()` is above zero. Rejects with the signal's reason. */
  whenFree(signal: AbortSignal): Promise<void>;
}

/** Told, not asked: implementations must not throw. */
export interface ConsumerEvents {
  connected?(): void;
  /** The broker went away; the consumer keeps trying. */
  disconnected?(error: unknown): void;
  /** The broker answered: the consumer is alive. Called at least every few seconds, also while `credit` allows nothing to be taken. */
  alive?(): void;
}

/** Names one loan of one worker; meaningless elsewhere. */
export type LoanId = string & { readonly __loan: unique symbol };

/** One message on loan to this worker until it is settled or the worker's lease runs out. */
export interface Delivery {
  readonly loan: LoanId;
  /** The queue it was taken from, without any priority suffix. */
  readonly queue: string;
  /** How often a worker died or lost its lease while holding it. 0 for a first delivery. Raised by the sweep, and by a requeue that says it is a loss. */
  readonly losses: number;
  /** The text or bytes exactly as the broker had them: what a dead letter keeps. */
  readonly raw: string | Uint8Array;
  /** Decodes the envelope, at most once. @throws ProtocolError when it is not one. */
  open(): OpenedDelivery;
}

export interface OpenedDelivery {
  readonly message: Message;
  readonly info: DeliveryInfo;
}

/** The end of one loan, with what must happen in the same step. */
export interface Settlement {
  readonly delivery: Delivery;
  readonly end: LoanEnd;
  /** Stored together with the end of the loan; only when `settlesWith` said so. */
  readonly results?: readonly ResultWrite[];
  /** Published together with it: retries, callbacks, the next step of a chain. */
  readonly publish?: readonly Outgoing[];
  /** Registered together with it, each with its result; only when `settlesWith` said so. */
  readonly parts?: readonly GroupPart[];
  /** What becomes of the lock that the task holds. Only for brokers with `uniques`. */
  readonly unique?: UniqueStep | undefined;
}

export type LoanEnd =
  /** Done with: acknowledged, or rejected without requeue. */
  | { readonly kind: "ack" }
  /** Back to its queue, marked redelivered. Front: next to be taken. Raises `losses` only when it says so. */
  | {
      readonly kind: "requeue";
      readonly to: "front" | "back";
      /** The process that ran it died: one more loss, as if the whole worker had. At how many it is dead-lettered is the caller's to say. */
      readonly isLoss?: boolean;
      /** Goes back in its place: the same with changed headers. */
      readonly message?: Message;
    }
  /** Back to the front exactly as it was: it was taken but never started. */
  | { readonly kind: "putBack" }
  /** Kept aside until `dueAt` (ms since 1970), then returned to the front of its queue. `message`: changed headers, if any. */
  | { readonly kind: "park"; readonly dueAt: number; readonly message?: Message }
  /** Moved, bytes untouched, to the dead letters of its queue. */
  | { readonly kind: "deadLetter"; readonly record: DeadLetterRecord };

export type SettleAnswer = "settled" | "lost";

export interface Checkpoints {
  /**
   * Puts other headers into a message on loan, so that whoever gets it after this worker's death has them. Fenced on the
   * loan: "lost" when it is another's by now, and then nothing is written. The delivery keeps its bytes: a settlement that
   * returns the message with its text (`requeue`, `park`) must give it anew.
   * @throws BrokerUnavailableError
   */
  write(delivery: Delivery, message: Message): Promise<SettleAnswer>;
}

export interface SettleOptions {
  /** Where `results` belong; a backend for which `settlesWith` is true. */
  readonly backend?: ResultBackend;
  readonly signal?: AbortSignal;
  /** Told of settlements of which a part completed its group; not of those whose answer was lost. Must not throw. */
  readonly completed?: (settlement: Settlement) => void;
}

export interface GroupEnds {
  /**
   * Stores, publishes and registers what follows from a group that is due, and removes the record of that, in one step.
   * "gone": somebody else has ended it, nothing was done. Waits out a broker's absence; rejects only when `signal` aborts.
   */
  finish(end: GroupEnd, options: FinishOptions): Promise<GroupEndAnswer>;
}

export interface GroupEnd {
  readonly groupId: string;
  /** The queue of messages that no queue is bound for. */
  readonly home: string;
  readonly results: readonly ResultWrite[];
  readonly publish: readonly Outgoing[];
  readonly parts: readonly GroupPart[];
}

export interface FinishOptions {
  readonly backend: ResultBackend;
  readonly signal?: AbortSignal;
}

/** `completed`: the groups around it that were completed by it. */
export type GroupEndAnswer = { readonly kind: "gone" } | { readonly kind: "ended"; readonly completed: readonly string[] };

export interface DueCallbacks {
  /**
   * Publishes what is due, in the step that removes the record of it. False: it was not due any more, nothing was done.
   * Waits out a broker's absence; rejects when `signal` aborts, or for what the broker will never take.
   */
  publish(due: DueCallback, messages: readonly Outgoing[], options: PublishDueOptions): Promise<boolean>;
}

export interface PublishDueOptions {
  /** Where the record is; a backend for which `settlesWith` is true. */
  readonly backend: ResultBackend;
  /** The queue of messages that no queue is bound for. */
  readonly home: string;
  readonly signal: AbortSignal;
}

export interface QueueSpec {
  readonly name: string;
  readonly exchange: string;
  readonly exchangeType: "direct" | "topic" | "fanout";
  readonly routingKey: string;
}

export interface QueueDepth {
  readonly queue: string;
  readonly ready: number;
  readonly parked: number;
  /** On loan to workers of ours, as far as the broker can tell per queue; undefined where it cannot. */
  readonly onLoan?: number;
  readonly dead: number;
}

export interface Leases {
  /**
   * Starts or prolongs the lease of a worker. Idempotent; called by the guard every quarter of `durationMs`.
   * `held` is false when the lease had run out and its loans were swept: what the worker still holds is another's now.
   */
  renew(worker: string, durationMs: number): Promise<LeaseState>;
  /**
   * Returns the loans of workers whose lease has run out to the front of their queues, marked redelivered and with
   * `losses` raised; also loans that Python workers abandoned, by kombu's own rule. Safe to call from many workers.
   */
  sweep(options: SweepOptions): Promise<SweepReport>;
  /** Gives back every loan of a worker at once, uncounted, and ends its lease: at shutdown, or by an operator. Returns how many. */
  release(worker: string): Promise<number>;
  list(): Promise<readonly LeaseInfo[]>;
}

export interface LeaseState {
  readonly held: boolean;
  /** The broker's clock minus ours, ms. */
  readonly clockOffsetMs: number;
}

export interface SweepOptions {
  /** Messages at this many losses are dead-lettered instead of returned, without a result: the guard gives more than the setting of that name. */
  readonly maxDeliveries: number;
  readonly leaseMs: number;
  /** kombu's `visibility_timeout` for what Python workers abandoned. */
  readonly visibilityTimeoutMs: number;
}

export interface SweepReport {
  readonly returned: number;
  readonly deadLettered: number;
  readonly workers: readonly string[];
}

export interface LeaseInfo {
  readonly worker: string;
  /** ms since 1970, by the broker's clock. */
  readonly endsAt: number;
  readonly loans: number;
}

export interface DelayedQueue {
  /** Returns what is due to the front of its queue, in due order. `nextDueAt`: the earliest that stays, by the broker's clock. */
  unpark(): Promise<{ readonly moved: number; readonly nextDueAt: number | undefined }>;
  /** Returns everything now, whatever its time. */
  flush(queue?: string): Promise<number>;
}

export interface Broadcast {
  publish(message: Message, exchange: string, routingKey: string): Promise<void>;
  /** Messages whose routing key matches the pattern (`#` any words, `*` one), from now until `signal` aborts. */
  subscribe(exchange: string, pattern: string, signal: AbortSignal, events?: SubscriptionEvents): AsyncIterable<Message>;
  /** Opens a place for answers, which whoever knows its address reaches with `reply`. It is there once this resolves. */
  openReplies(exchange: string, routingKey: string): Promise<Replies>;
  /** Sends an answer to whoever opened that place; to nobody when it is there no more. */
  reply(message: Message, exchange: string, routingKey: string): Promise<void>;
}

/** Told, not asked: must not throw. */
export interface SubscriptionEvents {
  /** It is in force, for the first time, or again after messages may have been missed. May be called before `subscribe` returns. */
  subscribed?(): void;
}

/** Disposing it removes the place and what was not read. One that is left behind by a crash is removed by a later `openReplies`. */
export interface Replies extends AsyncDisposable {
  /** In the order they came, until `signal` aborts. To be read once. */
  messages(signal: AbortSignal): AsyncIterable<Message>;
}

/**
 * Marks that are kept for a while, and in a bounded number: the oldest make room. What a mark says is the caller's
 * (`app/revocation-marks.ts`). All is by the broker's clock.
 */
export interface Revocations {
  /** A mark that is there already is kept anew. Returns how many younger than their time had to make room. */
  add(marks: readonly string[]): Promise<number>;
  /**
   * The marks that were added after the page that `after` comes from, oldest first, at most `limit` of them; without it
   * the newest `newest` of all. A page with fewer than `limit` was the last for now, and `cursor` goes on from there.
   */
  page(options: RevocationPageOptions): Promise<RevocationPage>;
  /** Those of them that are kept. */
  among(marks: readonly string[]): Promise<ReadonlySet<string>>;
}

export interface RevocationPageOptions {
  readonly limit: number;
  readonly after?: RevocationCursor | undefined;
  /** Default: all. */
  readonly newest?: number;
}

/** Names a position in the order of additions; meaningless in another broker. */
export type RevocationCursor = string & { readonly __cursor: unique symbol };

export interface RevocationPage {
  readonly marks: readonly KeptMark[];
  readonly cursor: RevocationCursor;
}

export interface KeptMark {
  readonly mark: string;
  /** How long it is kept from now on. */
  readonly leftMs: number;
}

/** What a broker keeps of revocations. */
export interface RevocationCaps {
  readonly max: number;
  readonly ttlMs: number;
}

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

export type { FoundMessage, MessagePlace, MessageSearch, SearchOptions } from "./search.ts";
