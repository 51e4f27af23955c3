/**
 * Keeps outcomes of tasks. All drivers pass test/conformance/result-backend.ts.
 * Documents are opaque here: `protocol/result.ts` makes and reads them.
 */
import type { Batches } from "./batches.ts";
import type { Groups } from "./groups.ts";

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
