export interface DelayedQueue {
  /** Returns what is due to the front of its queue, in due order. `nextDueAt`: the earliest that stays, by the broker's clock. */
  unpark(): Promise<{ readonly moved: number; readonly nextDueAt: number | undefined }>;
  /** Returns everything now, whatever its time. */
  flush(queue?: string): Promise<number>;
}
