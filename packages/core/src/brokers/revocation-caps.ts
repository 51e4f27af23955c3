/** How many revocations a broker keeps, and for how long. */
import type { RevocationCaps } from "./broker.ts";

/** As a broker's spec names them. */
export interface RevocationCapsSpec {
  /** The oldest make room. Default 1,000,000. */
  readonly revocationsMax?: number | undefined;
  /** Default: a week. */
  readonly revocationTtlMs?: number | undefined;
}

const KEPT = 1_000_000;
const TTL_MS = 7 * 86_400_000;

export function revocationCaps({ revocationsMax, revocationTtlMs }: RevocationCapsSpec): RevocationCaps {
  return { max: revocationsMax ?? KEPT, ttlMs: revocationTtlMs ?? TTL_MS };
}
