/**
 * What every broker can do, in batches: one round trip for many. All drivers pass test/conformance/broker.ts.
 * What only some can do is an optional part that the caller checks for, never a method that throws "not supported".
 *
 * A message's states in a broker: ready (in its queue) -> on loan to one worker -> settled (gone, back in its queue,
 * parked, or dead-lettered). Invariant: whoever crashes, it is in exactly one of them.
 */
import type { ResultBackend } from "../results/result-backend.ts";
import type { Aggregates } from "./aggregates.ts";
import type { Broadcast } from "./broadcast.ts";
import type { Checkpoints } from "./checkpoints.ts";
import type { ConsumeOptions } from "./consuming.ts";
import type { DeadLetters } from "./dead-letters.ts";
import type { DelayedQueue } from "./delayed.ts";
import type { Delivery } from "./delivery.ts";
import type { DueCallbacks } from "./due-callbacks.ts";
import type { Fairness } from "./fairness.ts";
import type { GroupEnds } from "./group-ends.ts";
import type { Leases } from "./leases.ts";
import type { Limits } from "./limits.ts";
import type { Outgoing, PublishOptions } from "./publishing.ts";
import type { QueuePauses } from "./queue-pauses.ts";
import type { Revocations } from "./revocations.ts";
import type { MessageSearch } from "./search.ts";
import type { Settlement, SettleAnswer, SettleOptions } from "./settlement.ts";
import type { Uniques } from "./uniques.ts";

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
   * Answers for each, in order: "lost" when the lease ran out and the message is or will be another worker's, "refused" when the
   * broker will not take it as things are; then nothing of that settlement was done. One that is refused harms no other. Waits out
   * a broker's absence; rejects when `signal` aborts, or when the broker refuses to tell where what follows goes.
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

// The words of the interface, each subject in a file of its own.
export type { Outgoing, PublishFate, PublishOptions } from "./publishing.ts";
export type { ConsumeOptions, ConsumerEvents, Credit } from "./consuming.ts";
export type { Delivery, LoanId, OpenedDelivery } from "./delivery.ts";
export type { LoanAnswer, LoanEnd, SettleAnswer, SettleOptions, Settlement } from "./settlement.ts";
export type { Checkpoints } from "./checkpoints.ts";
export type { LeaseInfo, LeaseState, Leases, SweepOptions, SweepReport } from "./leases.ts";
export type { DelayedQueue } from "./delayed.ts";
export type { Broadcast, Replies, SubscriptionEvents } from "./broadcast.ts";
export type { KeptMark, RevocationCaps, RevocationCursor, RevocationPage, RevocationPageOptions, Revocations } from "./revocations.ts";
export { DEAD_LETTER_REASONS } from "./dead-letters.ts";
export type {
  DeadLetter,
  DeadLetterCaps,
  DeadLetterCounts,
  DeadLetterFilter,
  DeadLetterPage,
  DeadLetterPageOptions,
  DeadLetterReason,
  DeadLetterRecord,
  DeadLetters,
  RestoreOptions,
} from "./dead-letters.ts";
export type { FinishOptions, GroupEnd, GroupEndAnswer, GroupEnds } from "./group-ends.ts";
export type { DueCallbacks, PublishDueOptions } from "./due-callbacks.ts";
export type { FoundMessage, MessagePlace, MessageSearch, SearchOptions } from "./search.ts";
