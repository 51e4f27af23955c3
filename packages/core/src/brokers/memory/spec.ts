import type { DeadLetterCapsSpec } from "../dead-letter-filter.ts";
import type { RevocationCapsSpec } from "../revocation-caps.ts";

/** Names a broker in this process's memory: everyone who opens `memory://name` shares it. Plain data. */
export interface MemorySpec extends DeadLetterCapsSpec, RevocationCapsSpec {
  readonly kind: "memory";
  readonly name: string;
}
