/** Looking for messages: an optional part of a broker, for those who ask where a task is. Never on a task's way. */
export interface MessageSearch {
  /**
   * All messages that wait in these queues, are parked there or are held there by a limit, and all that are on loan to anybody, in
   * pages; no more than `limit`.
   * A look at what moves: a message may be told twice or missed while it changes its place.
   */
  messages(options: SearchOptions): AsyncIterable<readonly FoundMessage[]>;
}

export interface SearchOptions {
  readonly queues: readonly string[];
  readonly limit: number;
  readonly signal?: AbortSignal | undefined;
}

export interface FoundMessage {
  readonly at: MessagePlace;
  /** The envelope as the broker has it. */
  readonly raw: string | Uint8Array;
}

export type MessagePlace =
  | { readonly kind: "queue"; readonly queue: string }
  /** `dueAt`: ms since 1970. */
  | { readonly kind: "parked"; readonly queue: string; readonly dueAt: number }
  /** It waits for its turn under this limit: a name, and a tab and a key where the limit has keys. */
  | { readonly kind: "held"; readonly queue: string; readonly limit: string }
  /** `worker`: the name under which its loans are kept; undefined for a Python worker, of which nobody knows. */
  | { readonly kind: "loan"; readonly worker: string | undefined };

/** No more of them than were asked for, until the signal aborts. */
export async function* atMost(
  pages: AsyncIterable<readonly FoundMessage[]>,
  { limit, signal }: Pick<SearchOptions, "limit" | "signal">,
): AsyncGenerator<readonly FoundMessage[], void, undefined> {
  let left = limit;
  for await (const page of pages) {
    signal?.throwIfAborted();
    yield page.slice(0, left);
    left -= page.length;
    if (left <= 0) return;
  }
}
