/** Names a broker in this process's memory: everyone who opens `memory://name` shares it. Plain data. */
export interface MemorySpec {
  readonly kind: "memory";
  readonly name: string;
  /** Dead letters kept for each queue; the oldest go first. Default 10,000. */
  readonly deadLetterMax?: number;
}
