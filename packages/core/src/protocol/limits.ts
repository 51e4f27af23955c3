/** What is accepted from outside. */
export interface DecodeLimits {
  /** Of an envelope, and of a body after decompression. */
  readonly maxBytes: number;
  readonly maxDepth: number;
}

export const DEFAULT_LIMITS: DecodeLimits = { maxBytes: 64 * 1024 * 1024, maxDepth: 200 };
