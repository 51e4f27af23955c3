/**
 * Where the embedded database is and how it writes: plain data, so that a second thread can open the same file from it.
 * Broker and result backend of one file take the same spec and share one open database.
 */
export interface SqliteSpec {
  readonly kind: "sqlite";
  /** The database file, absolute. Its directory is made when missing; `-wal`, `-shm` and `-bell` files appear beside it. */
  readonly path: string;
  /**
   * NORMAL survives any crash of a process, and of the machine up to the last moments before it; FULL waits for the
   * disk at every commit and loses nothing in a power cut either, for about the time of one disk flush a batch.
   */
  readonly synchronous: "NORMAL" | "FULL";
  /** How long a call waits for another process's transaction before it rejects, ms. */
  readonly timeoutMs: number;
  /** Dead letters kept for each queue; the oldest go first. Default 10,000. */
  readonly deadLetterMax?: number | undefined;
  /** Bytes of them kept for each queue. Default: no limit. */
  readonly deadLetterMaxBytes?: number | undefined;
  /** How old they may be. Default: no limit. */
  readonly deadLetterMaxAgeMs?: number | undefined;
  /** How many revoked tasks are remembered; the oldest make room. Default 1,000,000. */
  readonly revocationsMax?: number | undefined;
  /** How long they are remembered. Default: a week. */
  readonly revocationTtlMs?: number | undefined;
}

/** A spec with the defaults: NORMAL, 5 s. */
export function sqliteSpec(path: string, options: Partial<Omit<SqliteSpec, "kind" | "path">> = {}): SqliteSpec {
  return { kind: "sqlite", path, synchronous: "NORMAL", timeoutMs: 5000, ...options };
}
