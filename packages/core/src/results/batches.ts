/**
 * Batches: many tasks that are counted together. What is kept of a member is its place and two bits for how it ended, so
 * that a batch of a million is 250 kB, its counts are read at once, and a member that reports again changes nothing.
 *
 * A batch: open (members are added) -> sealed -> complete (all have ended) -> it expires. Members may be added for as long
 * as it is not complete; those who add while it is sealed are its own members. All drivers pass test/conformance/batches.ts.
 */
export interface Batches {
  /** Makes it, open and without members. As a member of its parent it takes a place there. Done twice, it is done once. False when the parent is gone or complete. */
  begin(batch: NewBatch): Promise<boolean>;
  /**
   * Gives `count` new members their places. The same adder with the same sequence gets the same places again: who is interrupted and
   * adds again adds the same members. `undefined`: there is no such batch any more, or it is complete or cancelled.
   */
  reserve(id: string, places: Reservation): Promise<Reserved | undefined>;
  /** The members of a reservation are published. What is not confirmed when the member that added it has ended is withdrawn. */
  confirm(id: string, adder: string, sequence: number): Promise<void>;
  /** These places of a reservation are nobody's: what was to have them could not be published. */
  withdraw(id: string, places: Omit<Reservation, "count">, withdrawn: readonly number[]): Promise<void>;
  /** No more are added but by members. False when there is no such batch. */
  seal(id: string): Promise<boolean>;
  /** How members ended. The first success stays; of other ends the last counts. Answers whether anything has become due. */
  report(id: string, ends: readonly MemberEnd[], options?: { readonly signal?: AbortSignal }): Promise<boolean>;
  /** A member of one of its members has failed for good, and the member goes on: the first such is this batch's death. Answers as `report`. */
  die(id: string): Promise<boolean>;
  /** Neither success nor death is told any more, and no members are taken. False when there is no such batch. */
  cancel(id: string): Promise<boolean>;
  /** In the order asked; undefined where there is none. One look at each, however many members it has. */
  read(ids: readonly string[]): Promise<readonly (BatchRecord | undefined)[]>;
  /** How the members from `first` on ended, at most `count` of them; places that are not given out yet are left out. */
  states(id: string, first: number, count: number): Promise<readonly MemberState[]>;
  /** Its child batches by their places, the lowest first. */
  children(id: string, first: number, count: number): Promise<readonly { readonly place: number; readonly id: string }[]>;
  /** Reservations that were not confirmed: their members may never have been published. */
  unconfirmed(id: string): Promise<readonly { readonly first: number; readonly count: number }[]>;
  /** What has become due at least so long ago, the oldest first. */
  due(options: { readonly limit: number; readonly minAgeMs: number }): Promise<readonly DueCallback[]>;
  /** Removes the record of what was due; false when it was not there. A broker of the same store does it in the step that publishes. */
  done(due: DueCallback): Promise<boolean>;
  /** Sealed batches that wait for members and have heard of none for so long, the quietest first. They count as heard of now. */
  quiet(options: { readonly limit: number; readonly minAgeMs: number }): Promise<readonly string[]>;
  forget(id: string): Promise<void>;
}

export interface NewBatch {
  readonly id: string;
  /** What is called when: opaque here. */
  readonly document: string;
  /** Which callbacks there are: the others never become due. */
  readonly callbacks: readonly BatchEvent[];
  readonly parentId: string | undefined;
  /** It is kept for so long after what last happened to it. */
  readonly expiresMs: number;
}

export interface Reservation {
  /** Who adds: a member's place as text, `t` and the id of another task, or `-` and a name that is used once. */
  readonly adder: string;
  /** Counts the adder's reservations from 0. */
  readonly sequence: number;
  readonly count: number;
}

export interface Reserved {
  readonly first: number;
  /** It was confirmed before: who adds has been here. */
  readonly isPublished: boolean;
}

/** `success`: all members have succeeded. `complete`: all have ended. `death`: the first failed for good. Each at most once. */
export type BatchEvent = (typeof BATCH_EVENTS)[number];
export const BATCH_EVENTS = ["success", "complete", "death"] as const;

/** `failed` ended without success, `dead` too and is kept as a dead letter; both may still succeed, when they are run again. */
export type MemberState = (typeof MEMBER_STATES)[number];
/** By the two bits of each. */
export const MEMBER_STATES = ["pending", "succeeded", "failed", "dead"] as const;

export interface MemberEnd {
  readonly place: number;
  readonly state: Exclude<MemberState, "pending">;
}

export interface BatchRecord {
  readonly id: string;
  readonly document: string;
  readonly parentId: string | undefined;
  /** Its place in its parent. */
  readonly place: number | undefined;
  /** Of members, those not counted that were withdrawn before they were published. */
  readonly total: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly dead: number;
  /** Places given out: total and withdrawn ones. */
  readonly places: number;
  /** ms since 1970, by the store's clock. */
  readonly createdAt: number;
  readonly sealedAt: number | undefined;
  readonly completedAt: number | undefined;
  readonly succeededAt: number | undefined;
  /** When the first member failed for good. */
  readonly diedAt: number | undefined;
  readonly cancelledAt: number | undefined;
}

export interface DueCallback {
  readonly id: string;
  readonly event: BatchEvent;
}
