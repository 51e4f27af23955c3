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
