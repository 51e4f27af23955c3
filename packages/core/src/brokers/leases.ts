/** A worker has its loans as long as it renews its lease; whoever sweeps returns those of one that did not. */

export interface Leases {
  /**
   * Starts or prolongs the lease of a worker. Idempotent; called by the guard every quarter of `durationMs`.
   * `held` is false when the lease had run out and its loans were swept: what the worker still holds is another's now.
   */
  renew(worker: string, durationMs: number): Promise<LeaseState>;
  /**
   * Returns the loans of workers whose lease has run out to the front of their queues, marked redelivered and with
   * `losses` raised for those that had begun or were never lost before; also loans that Python workers abandoned, by kombu's own rule. Safe to call from many workers.
   */
  sweep(options: SweepOptions): Promise<SweepReport>;
  /** Gives back every loan of a worker at once, uncounted, and ends its lease: at shutdown, or by an operator. Returns how many. */
  release(worker: string): Promise<number>;
  list(): Promise<readonly LeaseInfo[]>;
}

export interface LeaseState {
  readonly held: boolean;
  /** The broker's clock minus ours, ms. */
  readonly clockOffsetMs: number;
}

export interface SweepOptions {
  /** Messages at this many losses are dead-lettered instead of returned, without a result: the guard gives more than the setting of that name. */
  readonly maxDeliveries: number;
  readonly leaseMs: number;
  /** kombu's `visibility_timeout` for what Python workers abandoned. */
  readonly visibilityTimeoutMs: number;
}

export interface SweepReport {
  readonly returned: number;
  readonly deadLettered: number;
  readonly workers: readonly string[];
}

export interface LeaseInfo {
  readonly worker: string;
  /** ms since 1970, by the broker's clock. */
  readonly endsAt: number;
  readonly loans: number;
}
