/** Groups in this process's memory. */
import type { Clock } from "../../shared/clock.ts";
import type { GroupPart, Groups, GroupSizeWrite, ResultText, ResultWrite } from "../result-backend.ts";

interface Counted {
  size: number | undefined;
  added: number;
  readonly parts: Map<string, GroupPart>;
  completedBy: string | undefined;
  expiresAt: number;
}

interface Saved {
  readonly document: ResultText;
  readonly expiresAt: number;
}

/** What all backends of one name share. */
export class MemoryGroupStore {
  readonly counted = new Map<string, Counted>();
  readonly saved = new Map<string, Saved>();
}

export class MemoryGroups implements Groups {
  readonly #store: MemoryGroupStore;
  readonly #clock: Clock;
  readonly #storeResult: (write: ResultWrite) => void;

  constructor(store: MemoryGroupStore, clock: Clock, storeResult: (write: ResultWrite) => void) {
    this.#store = store;
    this.#clock = clock;
    this.#storeResult = storeResult;
  }

  async begin(sizes: readonly GroupSizeWrite[]): Promise<void> {
    for (const { groupId, size, expiresMs } of sizes) this.#group(groupId, expiresMs).size = size;
  }

  async extend(groupId: string, count: number, expiresMs: number | undefined): Promise<void> {
    this.#group(groupId, expiresMs).added += count;
  }

  async addParts(parts: readonly GroupPart[], { signal }: { readonly signal?: AbortSignal } = {}): Promise<readonly boolean[]> {
    signal?.throwIfAborted();
    return parts.map((part) => {
      if (part.result !== undefined) this.#storeResult(part.result);
      const group = this.#group(part.groupId, part.expiresMs);
      const before = group.parts.get(part.taskId);
      if (before === undefined || !isSuccess(before)) group.parts.set(part.taskId, part);
      if (group.size === undefined || group.parts.size < group.size + group.added) return false;
      group.completedBy ??= part.taskId;
      return group.completedBy === part.taskId;
    });
  }

  async parts(groupId: string): Promise<{ readonly parts: readonly ResultText[]; readonly expected: number }> {
    const group = this.#store.counted.get(groupId);
    if (group === undefined) return { parts: [], expected: 0 };
    const ordered = [...group.parts.values()].toSorted((a, b) => (a.index ?? Infinity) - (b.index ?? Infinity) || 0);
    return { parts: ordered.map(({ part }) => part), expected: (group.size ?? 0) + group.added };
  }

  async reopen(groupId: string): Promise<void> {
    const group = this.#store.counted.get(groupId);
    if (group !== undefined) group.completedBy = undefined;
  }

  async end(groupIds: readonly string[]): Promise<void> {
    for (const groupId of groupIds) {
      this.#store.counted.delete(groupId);
      this.#store.saved.delete(groupId);
    }
  }

  async save(groupId: string, document: ResultText, expiresMs: number | undefined): Promise<void> {
    this.#store.saved.set(groupId, { document, expiresAt: this.#expiry(expiresMs) });
  }

  async restore(groupId: string): Promise<ResultText | undefined> {
    const saved = this.#store.saved.get(groupId);
    return saved !== undefined && saved.expiresAt > this.#clock.now() ? saved.document : undefined;
  }

  async forget(groupIds: readonly string[]): Promise<void> {
    for (const groupId of groupIds) this.#store.saved.delete(groupId);
  }

  #group(groupId: string, expiresMs: number | undefined): Counted {
    const { counted } = this.#store;
    let group = counted.get(groupId);
    if (group === undefined) {
      this.#expireOldest();
      group = { size: undefined, added: 0, parts: new Map(), completedBy: undefined, expiresAt: 0 };
      counted.set(groupId, group);
    }
    group.expiresAt = this.#expiry(expiresMs);
    return group;
  }

  /** Two for each new one, so that what has piled up melts away. */
  #expireOldest(): void {
    const now = this.#clock.now();
    for (const map of [this.#store.counted, this.#store.saved] as const) {
      let left = 2;
      for (const [groupId, { expiresAt }] of map) {
        if (left-- === 0) break;
        if (expiresAt <= now) map.delete(groupId);
      }
    }
  }

  #expiry(expiresMs: number | undefined): number {
    return expiresMs === undefined ? Infinity : this.#clock.now() + expiresMs;
  }
}

/** Its result tells; without one the part's own text does, whatever the serializer. */
function isSuccess({ part, taskId }: GroupPart): boolean {
  const text = typeof part === "string" ? part : Buffer.from(part).toString("latin1");
  const at = text.indexOf("SUCCESS", text.indexOf(taskId) + taskId.length);
  return at >= 0 && at < text.indexOf(taskId) + taskId.length + 8;
}
