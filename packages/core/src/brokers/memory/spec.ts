import type { DeadLetterCapsSpec } from "../dead-letter-filter.ts";

/** Names a broker in this process's memory: everyone who opens `memory://name` shares it. Plain data. */
export interface MemorySpec extends DeadLetterCapsSpec {
  readonly kind: "memory";
  readonly name: string;
}
