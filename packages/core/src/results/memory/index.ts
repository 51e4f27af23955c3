import type { Clock } from "../../shared/clock.ts";
import { MemoryBackend, MemoryResults } from "./memory-backend.ts";
import type { MemorySpec } from "./spec.ts";

export type { MemoryBackend } from "./memory-backend.ts";
export type { MemorySpec } from "./spec.ts";

/** On the process and not in this module: a task module that was loaded by another loader holds a second copy of it. */
const NAMED = Symbol.for("lovage.memory.results");

/** Opens the memory backend of this name. Its results stay when it is closed, until they expire, the process ends or `dropMemoryBackend`. */
export async function openMemoryBackend(spec: MemorySpec, deps: { readonly clock: Clock }): Promise<MemoryBackend> {
  const stores = named();
  let results = stores.get(spec.name);
  if (results === undefined) stores.set(spec.name, (results = new MemoryResults()));
  return new MemoryBackend(spec, results, deps.clock);
}

/** Forgets the results of a name. Who has it open keeps the old ones; who opens it next begins with none. */
export function dropMemoryBackend(name: string): void {
  named().delete(name);
}

function named(): Map<string, MemoryResults> {
  const global = globalThis as { [NAMED]?: Map<string, MemoryResults> };
  return (global[NAMED] ??= new Map());
}
