/**
 * Keeps outcomes of tasks. All drivers pass test/conformance/result-backend.ts.
 * Documents are opaque here: `protocol/result.ts` makes and reads them.
 */
import type { Batches } from "./batches.ts";

export interface ResultBackend extends AsyncDisposable {
  readonly kind: string;
  /** Where it is, without credentials. */
  readonly location: string;

  /**
   * Stores documents and tells their watchers. A stored SUCCESS is never overwritten (celery-protocol.md 6.1).
   * Resolves once the store holds them; waits out a short absence; rejects with BackendUnavailableError at the deadline.
   */
  store(writes: readonly ResultWrite[], options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** In the order asked; undefined where there is none. */
  fetch(taskIds: readonly string[], options?: { readonly signal?: AbortSignal }): Promise<readonly (ResultText | undefined)[]>;
  /**
   * Calls `onDocument` with every document stored under the id from now on, and, once when the watch begins and again
   * after each reconnect, with the one that is there: no outcome is missed. All watches of a backend share one subscription.
   * Resolves when the watch is in force. Disposing it ends it.
   */
  watch(taskId: string, onDocument: (document: ResultText) => void): Promise<Disposable>;
  forget(taskIds: readonly string[]): Promise<void>;
  /** Deletes what has expired, where the store does not do so by itself. Returns how many. */
  cleanup?(): Promise<number>;
  /** Counts the parts of groups, and keeps groups by name. */
  readonly groups: Groups;
  /** Counts the members of batches. */
  readonly batches?: Batches;
  /** Identifies the store, so that a broker on the same one can settle in one step. Compared by the store's own code. */
  readonly sharedStore?: object;
}

export interface ResultWrite {
  readonly taskId: string;
  readonly state: string;
  readonly document: ResultText;
  /** Time to live; undefined keeps it for ever. */
  readonly expiresMs: number | undefined;
}

/** JSON is text, msgpack is bytes. */
export type ResultText = string | Uint8Array;

/**
 * Groups whose members report their parts, in Celery's keys where the store is Celery's (celery-protocol 7.5). A part
 * stays with its member: one that reports again takes its own place, so that nothing is counted twice.
 */
export interface Groups {
  /** Says how many parts complete a group; known before its last part can come. */
  begin(sizes: readonly GroupSizeWrite[]): Promise<void>;
  /** The group waits for so many more. */
  extend(groupId: string, count: number, expiresMs: number | undefined): Promise<void>;
  /**
   * Stores results of members and registers their parts, each in one step. Answers for each, in order, whether it is the one
   * that completes its group: the same answer again when the same member reports again, and true for one member alone.
   */
  addParts(parts: readonly GroupPart[], options?: { readonly signal?: AbortSignal }): Promise<readonly boolean[]>;
  /** The parts by place, `[1, id, state, result]` as they were given, and how many the group waits for. */
  parts(groupId: string): Promise<{ readonly parts: readonly ResultText[]; readonly expected: number }>;
  /** It was not complete after all: a member of another program counted twice. The next part may complete it. */
  reopen(groupId: string): Promise<void>;
  /** What has been counted is of no use any more. */
  end(groupIds: readonly string[]): Promise<void>;
  /** A group by its id: a document of `protocol/`. */
  save(groupId: string, document: ResultText, expiresMs: number | undefined): Promise<void>;
  restore(groupId: string): Promise<ResultText | undefined>;
  forget(groupIds: readonly string[]): Promise<void>;
}

export interface GroupSizeWrite {
  readonly groupId: string;
  readonly size: number;
  readonly expiresMs: number | undefined;
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
}
