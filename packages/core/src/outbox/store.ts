/**
 * Where an outbox is kept, as the relay sees it. A row is waiting -> claimed by one relay -> published and gone, waiting again, or set
 * aside with a reason. A claim ends with its relay: when that dies, its rows are waiting again.
 * Invariant: rows of one key are claimed by one relay at a time, in the order of their insertion, without gaps.
 */
export interface OutboxStore extends AsyncDisposable {
  /** Without credentials: `postgres://db.example/shop`. */
  readonly location: string;
  /**
   * The first rows that may be published, in order. `nothing` also says whether rows wait for a transaction or another relay to end.
   * @throws OutboxUnavailableError; OutboxSchemaError when the tables are not there
   */
  claim(limits: ClaimLimits): Promise<Claim | Nothing>;
  /** Resolves when rows may have come, at the latest after `maxMs`; at once when `signal` aborts. Never rejects. */
  wait(maxMs: number, signal: AbortSignal): Promise<void>;
  status(): Promise<OutboxStatus>;
  /** Oldest first. */
  listAside(limit: number): Promise<readonly AsideRow[]>;
  /** Puts rows that were set aside back, behind all others of their keys. Ids of tasks, or all. Returns how many. */
  retryAside(ids: readonly string[] | "all"): Promise<number>;
  /** Deletes rows that were set aside, of these ids, or all that were set aside so long ago. Returns how many. */
  discardAside(which: readonly string[] | { readonly olderThanMs: number }): Promise<number>;
  /** Brings the tables to this version's schema. Returns the numbers of the steps that were applied. */
  migrate(): Promise<readonly number[]>;
}

export interface ClaimLimits {
  readonly rows: number;
  /** Of what is read; one row always fits. */
  readonly bytes: number;
}

export interface Nothing {
  readonly kind: "nothing";
  /** Rows are there, and none may be published yet. */
  readonly isHeldBack: boolean;
}

export interface Claim {
  readonly kind: "claim";
  readonly rows: readonly OutboxRow[];
  /** Ends the claim: deletes what was published, keeps the rest for the next. In one step. */
  settle(outcome: ClaimOutcome): Promise<void>;
  /** Ends the claim with nothing done. Never rejects. */
  release(): Promise<void>;
}

export interface ClaimOutcome {
  /** `seq` of rows that the broker holds. */
  readonly published: readonly number[];
  /** Rows that can never be published. */
  readonly aside: readonly Verdict[];
  /** Rows that the broker refused: they and their keys wait for a while. */
  readonly refused: readonly Refusal[];
}

export interface Refusal extends Verdict {
  /** The broker took others meanwhile: it is the row's fault, and one more of its `attempts`. */
  readonly isItsFault: boolean;
}

export interface Verdict {
  readonly seq: number;
  readonly reason: string;
}

/** A row as it was written; JSON is still text. */
export interface OutboxRow {
  /** The order of insertion. */
  readonly seq: number;
  /** Of the task. */
  readonly id: string;
  readonly key: string | null;
  readonly task: string;
  readonly args: string;
  readonly kwargs: string;
  readonly options: string;
  /** The whole message as Lovage wrote it; else it is made of the four above. */
  readonly envelope: string | null;
  readonly attempts: number;
  /** ms since 1970, by the database's clock. */
  readonly createdAt: number;
}

export interface AsideRow {
  readonly seq: number;
  readonly id: string;
  readonly key: string | null;
  readonly task: string;
  readonly reason: string;
  readonly createdAt: number;
  readonly setAsideAt: number;
}

export interface OutboxStatus {
  /** Committed and not yet published. */
  readonly waiting: number;
  /** How long the oldest of them waits, by the database's clock; 0 when none does. */
  readonly lagMs: number;
  /** Of those that wait: because a transaction that has written to the outbox is still open. */
  readonly heldBack: number;
  readonly setAside: number;
}
