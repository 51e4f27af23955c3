/**
 * Groups whose members report their parts, in Celery's keys where the store is Celery's (celery-protocol 7.5). A part stays
 * with its member: one that reports again takes its own place, so that nothing is counted twice.
 *
 * A group's states: open -> due (the part that completed it left a record, in the same step) -> ended (what was due is
 * published, and the record removed with it). Invariant: a group that is due stays due until somebody has ended it.
 * All drivers pass test/conformance/groups.ts.
 */
import type { ResultText, ResultWrite } from "./result-backend.ts";

export interface Groups {
  /** Says how many parts complete a group; known before its last part can come. */
  begin(sizes: readonly GroupSizeWrite[]): Promise<void>;
  /** The group waits for so many more. */
  extend(groupId: string, count: number, expiresMs: number | undefined): Promise<void>;
  /**
   * Stores results of members and registers their parts, each in one step; the part that completes its group leaves the
   * record of what is due. Answers for each, in order, whether it did. A repetition changes nothing and answers false.
   * For parts that come without a loan; others belong to `Settlement.parts`.
   */
  addParts(parts: readonly GroupPart[], options?: { readonly signal?: AbortSignal }): Promise<readonly boolean[]>;
  /** The parts by place, `[1, id, state, result]` as they were given, and how many the group waits for. */
  parts(groupId: string): Promise<{ readonly parts: readonly ResultText[]; readonly expected: number }>;
  /** What is known of a group, and its parts from the `first` on in their order; undefined when nothing is, or it has ended. For people. */
  look(groupId: string, first: number, count: number): Promise<GroupLook | undefined>;
  /** undefined: it is not complete, or has ended. */
  due(groupId: string): Promise<DueGroup | undefined>;
  /** Groups that have been due for seconds and were not ended: each is the caller's to finish for a while. A bounded look. */
  claimDue(limit: number): Promise<readonly string[]>;
  /**
   * It was not complete after all: these parts are surplus, because a member of another program counted twice. They go, and
   * the group is open again. False when it is complete without them: it stays due.
   */
  reopen(groupId: string, surplus: readonly ResultText[]): Promise<boolean>;
  /** Removes the record of what was due, and all that was counted. Answers for each whether it was due. */
  end(groupIds: readonly string[]): Promise<readonly boolean[]>;
  /**
   * Groups that have not heard of a member for a while: each is the caller's to look into, and told again later, the longer it is
   * quiet: first after `firstMs` (default 5 s). A bounded look; the oldest are forgotten when there are too many.
   */
  quiet(limit: number, firstMs?: number): Promise<readonly QuietGroup[]>;
  /** Nothing will complete it any more: it is due, and `reason` is why it fails. False when it was due or has ended before. */
  giveUp(groupId: string, reason: string): Promise<boolean>;
  /** A group by its id: a document of `protocol/`. */
  save(groupId: string, document: ResultText, expiresMs: number | undefined): Promise<void>;
  restore(groupId: string): Promise<ResultText | undefined>;
  forget(groupIds: readonly string[]): Promise<void>;
}

export interface GroupSizeWrite {
  readonly groupId: string;
  readonly size: number;
  readonly expiresMs: number | undefined;
  /** Whose parts it waits for, by place; empty when there are very many, or they have no places. */
  readonly members?: readonly string[];
  /** The signature of its body as JSON. */
  readonly body?: string;
}

/** One of which no part has come for `quietMs`. */
export interface QuietGroup {
  readonly groupId: string;
  readonly quietMs: number;
  readonly counted: number;
  /** undefined: nobody has said so far. */
  readonly expected: number | undefined;
  /** As far as whoever began it has said. */
  readonly members: readonly string[];
  readonly body: string;
  readonly rootId: string;
  readonly priority: number;
}

export interface GroupPart {
  readonly groupId: string;
  readonly taskId: string;
  /** undefined stands behind all others. */
  readonly index: number | undefined;
  readonly part: ResultText;
  /** Stored in the same step; undefined where its result is not kept. */
  readonly result: ResultWrite | undefined;
  readonly expiresMs: number | undefined;
  /** Whose follow-up the body is. */
  readonly rootId: string;
  readonly priority: number;
  /** The signature of the group's body as JSON; empty where the member cannot be read so far: then another one's counts. */
  readonly body: string;
}

export interface GroupLook {
  /** How many it waits for; undefined when only parts are there. */
  readonly expected: number | undefined;
  readonly counted: number;
  /** `place` is undefined behind all others. */
  readonly parts: readonly { readonly place: number | undefined; readonly part: ResultText }[];
  /** The signature of its body as JSON; empty when no member has told. */
  readonly body: string;
}

/** What a complete group has to be ended with. */
export interface DueGroup {
  /** The member whose part was the last. */
  readonly memberId: string;
  readonly rootId: string;
  readonly priority: number;
  /** The signature as JSON; empty when no member could tell. */
  readonly body: string;
  /** It was given up: why it fails, whatever its parts are. */
  readonly lost?: string | undefined;
}

/** A new group is looked at after `newMs`; one that is quiet then after `firstMs`, then after twice as long, up to `lastMs`. */
export const QUIET = { newMs: 1000, firstMs: 5000, lastMs: 300_000 };

/** So long whoever completed a group has to end it, and then whoever claimed it, before it is another one's to claim. */
export const DUE_MS = { completed: 3000, claimed: 10_000 };
