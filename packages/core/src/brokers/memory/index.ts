import { MemoryBroker, type MemoryDeps } from "./memory-broker.ts";
import type { MemorySpec } from "./spec.ts";
import { MemoryStore } from "./store.ts";

export type { MemoryBroker } from "./memory-broker.ts";
export type { MemorySpec } from "./spec.ts";

/** On the process and not in this module: a task module that was loaded by another loader holds a second copy of it. */
const NAMED = Symbol.for("lovage.memory.brokers");

/** Opens the memory broker of this name. Its messages stay when it is closed, until the process ends or `dropMemoryBroker`. */
export async function openMemoryBroker(spec: MemorySpec, deps: MemoryDeps): Promise<MemoryBroker> {
  const stores = named();
  let store = stores.get(spec.name);
  if (store === undefined) stores.set(spec.name, (store = new MemoryStore()));
  return new MemoryBroker(spec, store, deps);
}

/** Forgets the messages of a name. Who has it open keeps the old ones; who opens it next begins with none. */
export function dropMemoryBroker(name: string): void {
  named().delete(name);
}

function named(): Map<string, MemoryStore> {
  const global = globalThis as { [NAMED]?: Map<string, MemoryStore> };
  return (global[NAMED] ??= new Map());
}
