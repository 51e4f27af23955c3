/**
 * Groups of messages that are to become one: kept by the broker until they are enough, or the first has waited long
 * enough. A message is in its queue, on loan, or in one group, never in neither; whoever folds or publishes may die at any point.
 * A group is of one queue, that of its first message: there its messages count as parked, are found and are purged.
 */
import type { Delivery, Outgoing } from "./broker.ts";
import type { Envelope } from "./envelope-edits.ts";

export interface Aggregates {
  /**
   * Ends loans, each message goes to the end of its group in the same step. Answers for each how many its group then holds; "lost" when the
   * loan was another's by then, or had ended, and then nothing was done.
   * @throws BrokerUnavailableError
   */
  fold(folds: readonly Fold[]): Promise<readonly (number | "lost")[]>;
  /** Groups whose time has come by `now` (ms since 1970, by the broker's clock), the longest due first. */
  due(now: number, limit: number): Promise<DueGroups>;
  /** The oldest messages of a group, at most `limit`. */
  first(group: string, limit: number): Promise<readonly Envelope[]>;
  /** Publishes to the group's queue, which `routingKey` names, and takes those out of the group in the same step, if they are still its first. False when they are not. */
  publish(group: string, taken: readonly Envelope[], outgoing: Outgoing): Promise<boolean>;
}

export interface Fold {
  readonly delivery: Delivery;
  readonly group: string;
  /** When the group is due, if this message begins it; ms since 1970, by the broker's clock. */
  readonly dueAt: number;
}

export interface DueGroups {
  readonly groups: readonly string[];
  /** Of the earliest that is not due yet; undefined when there is none. */
  readonly nextDueAt: number | undefined;
}
