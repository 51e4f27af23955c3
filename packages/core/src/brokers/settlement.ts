import type { Message } from "../protocol/message.ts";
import type { GroupPart } from "../results/groups.ts";
import type { ResultBackend, ResultWrite } from "../results/result-backend.ts";
import type { DeadLetterRecord } from "./dead-letters.ts";
import type { Delivery } from "./delivery.ts";
import type { Outgoing } from "./publishing.ts";
import type { UniqueStep } from "./uniques.ts";

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

/** "lost": the loan is another's or has ended, and nothing was done. */
export type LoanAnswer = "settled" | "lost";

/** "refused": the broker will not take it as things are (a key of a wrong type, say). Nothing was done, and the loan is as it was. */
export type SettleAnswer = LoanAnswer | "refused";

export interface SettleOptions {
  /** Where `results` belong; a backend for which `settlesWith` is true. */
  readonly backend?: ResultBackend;
  readonly signal?: AbortSignal;
  /** Told of settlements of which a part completed its group; not of those whose answer was lost. Must not throw. */
  readonly completed?: (settlement: Settlement) => void;
}
