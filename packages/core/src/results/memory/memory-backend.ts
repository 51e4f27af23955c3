/**
 * Results in this process's memory. What `store` is given is stored when its promise is made, not when it resolves:
 * the memory broker counts on it to store and acknowledge in one step.
 */
import type { Clock } from "../../shared/clock.ts";
import type { ResultBackend, ResultText, ResultWrite } from "../result-backend.ts";
import { MemoryBatches, MemoryBatchStore } from "./batches.ts";
import { MemoryGroups, MemoryGroupStore } from "./groups.ts";
import type { MemorySpec } from "./spec.ts";

interface Stored {
  readonly state: string;
  readonly document: ResultText;
  /** ms since 1970. */
  readonly expiresAt: number;
}

/** Looked at with each new one: more than one, so that what has piled up melts away. */
const EXPIRED_PER_WRITE = 2;

interface CallOptions {
  readonly signal?: AbortSignal;
}

/** What all backends of one name share. */
export class MemoryResults {
  readonly documents = new Map<string, Stored>();
  readonly watchers = new Map<string, Set<(document: ResultText) => void>>();
  readonly groups = new MemoryGroupStore();
  readonly batches = new MemoryBatchStore();
}

export class MemoryBackend implements ResultBackend {
  readonly kind = "memory";
  readonly location: string;
  readonly sharedStore: object;
  readonly groups: MemoryGroups;
  readonly batches: MemoryBatches;
  readonly #results: MemoryResults;
  readonly #clock: Clock;
  readonly #watches = new Set<Disposable>();

  constructor(spec: MemorySpec, results: MemoryResults, clock: Clock) {
    this.location = `memory://${spec.name}`;
    this.sharedStore = results;
    this.#results = results;
    this.#clock = clock;
    this.groups = new MemoryGroups(results.groups, clock, (write) => this.#store(write));
    this.batches = new MemoryBatches(results.batches, clock);
  }

  async store(writes: readonly ResultWrite[], { signal }: CallOptions = {}): Promise<void> {
    signal?.throwIfAborted();
    for (const write of writes) this.#store(write);
    this.#expireSome(EXPIRED_PER_WRITE * writes.length);
  }

  #store({ taskId, state, document, expiresMs }: ResultWrite): void {
    if (this.#live(taskId)?.state === "SUCCESS") return;
    const expiresAt = expiresMs === undefined ? Infinity : this.#clock.now() + expiresMs;
    this.#results.documents.set(taskId, { state, document, expiresAt });
    for (const onDocument of this.#results.watchers.get(taskId) ?? []) onDocument(document);
  }

  async fetch(taskIds: readonly string[], { signal }: CallOptions = {}): Promise<readonly (ResultText | undefined)[]> {
    signal?.throwIfAborted();
    return taskIds.map((taskId) => this.#live(taskId)?.document);
  }

  async watch(taskId: string, onDocument: (document: ResultText) => void): Promise<Disposable> {
    const { watchers } = this.#results;
    // A turn later, so that a watcher that throws does not break the task that stored.
    const tell = (document: ResultText): void => queueMicrotask(() => active && onDocument(document));
    let active = true;
    const watch = {
      [Symbol.dispose]: (): void => {
        active = false;
        this.#watches.delete(watch);
        const those = watchers.get(taskId);
        those?.delete(tell);
        if (those?.size === 0) watchers.delete(taskId);
      },
    };
    const those = watchers.get(taskId);
    if (those === undefined) watchers.set(taskId, new Set([tell]));
    else those.add(tell);
    this.#watches.add(watch);
    const present = this.#live(taskId);
    if (present !== undefined) tell(present.document);
    return watch;
  }

  async forget(taskIds: readonly string[]): Promise<void> {
    for (const taskId of taskIds) this.#results.documents.delete(taskId);
  }

  async cleanup(): Promise<number> {
    const { documents } = this.#results;
    const before = documents.size;
    for (const taskId of documents.keys()) this.#live(taskId);
    return before - documents.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const watch of this.#watches) watch[Symbol.dispose]();
  }

  /** Looks at the oldest, so that what has expired does not pile up. */
  #expireSome(count: number): void {
    let left = count;
    for (const taskId of this.#results.documents.keys()) {
      if (left-- === 0) return;
      this.#live(taskId);
    }
  }

  #live(taskId: string): Stored | undefined {
    const stored = this.#results.documents.get(taskId);
    if (stored === undefined || stored.expiresAt > this.#clock.now()) return stored;
    this.#results.documents.delete(taskId);
    return undefined;
  }
}
