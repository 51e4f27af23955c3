/** Names a store of results in this process's memory: everyone who opens `memory://name` shares it. Plain data. */
export interface MemorySpec {
  readonly kind: "memory";
  readonly name: string;
}
