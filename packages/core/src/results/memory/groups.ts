/** Groups in this process's memory. */
import type { Clock } from "../../shared/clock.ts";
import {
  DUE_MS, type DueGroup, type GroupLook, type GroupPart, type Groups, type GroupSizeWrite, QUIET, type QuietGroup,
} from "../groups.ts"; // prettier-ignore
import type { ResultText, ResultWrite } from "../result-backend.ts";

interface Counted {
  size: number | undefined;
  added: number;
  readonly parts: Map<string, GroupPart>;
  body: string;
  members: readonly string[];
  rootId: string;
  priority: number;
  /** When it is looked at, should it be quiet; how many parts there were at the last look, and since when. */
  lookAt: number;
  seen: number | undefined;
  since: number;
  lost: string | undefined;
  /** It is complete: whoever may end it has until then. */
  due: (Omit<DueGroup, "body" | "lost"> & { until: number }) | undefined;
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
    for (const { groupId, size, expiresMs, members = [], body = "" } of sizes)
      Object.assign(this.#group(groupId, expiresMs), { size, members, ...(body !== "" && { body }) });
  }

  async extend(groupId: string, count: number, expiresMs: number | undefined): Promise<void> {
    this.#group(groupId, expiresMs).added += count;
  }

  async addParts(parts: readonly GroupPart[], { signal }: { readonly signal?: AbortSignal } = {}): Promise<readonly boolean[]> {
    signal?.throwIfAborted();
    return parts.map((part) => {
      if (part.result !== undefined) this.#storeResult(part.result);
      const group = this.#group(part.groupId, part.expiresMs);
      const before = group.parts.size;
      const known = group.parts.get(part.taskId);
      if (known === undefined || !isSuccess(known)) group.parts.set(part.taskId, part);
      if (group.body === "") group.body = part.body;
      if (group.rootId === "") Object.assign(group, { rootId: part.rootId, priority: part.priority });
      const needed = group.size === undefined ? Infinity : group.size + group.added;
      if (before >= needed || group.parts.size < needed) return false;
      const { taskId: memberId, rootId, priority } = part;
      group.due = { memberId, rootId, priority, until: this.#clock.now() + DUE_MS.completed };
      return true;
    });
  }

  async parts(groupId: string): Promise<{ readonly parts: readonly ResultText[]; readonly expected: number }> {
    const group = this.#store.counted.get(groupId);
    if (group === undefined) return { parts: [], expected: 0 };
    const ordered = [...group.parts.values()].toSorted((a, b) => (a.index ?? Infinity) - (b.index ?? Infinity) || 0);
    return { parts: ordered.map(({ part }) => part), expected: (group.size ?? 0) + group.added };
  }

  async look(groupId: string, first: number, count: number): Promise<GroupLook | undefined> {
    const group = this.#store.counted.get(groupId);
    if (group === undefined) return undefined;
    const ordered = [...group.parts.values()].toSorted((a, b) => (a.index ?? Infinity) - (b.index ?? Infinity) || 0);
    return {
      expected: group.size === undefined ? undefined : group.size + group.added,
      counted: group.parts.size,
      parts: ordered.slice(first, first + count).map(({ index, part }) => ({ place: index, part })),
      body: group.body,
    };
  }

  async due(groupId: string): Promise<DueGroup | undefined> {
    const group = this.#store.counted.get(groupId);
    if (group?.due === undefined) return undefined;
    const { until: _, ...due } = group.due;
    return { ...due, body: group.body, ...(group.lost !== undefined && { lost: group.lost }) };
  }

  async claimDue(limit: number): Promise<readonly string[]> {
    const now = this.#clock.now();
    const claimed: string[] = [];
    for (const [groupId, { due }] of this.#store.counted) {
      if (claimed.length === limit) break;
      if (due === undefined || due.until > now) continue;
      due.until = now + DUE_MS.claimed;
      claimed.push(groupId);
    }
    return claimed;
  }

  /** A member has one part here, so there is none to spare. */
  async reopen(groupId: string): Promise<boolean> {
    const group = this.#store.counted.get(groupId);
    if (group === undefined) return true;
    if (group.parts.size >= (group.size ?? 0) + group.added) return false;
    group.due = undefined;
    return true;
  }

  async end(groupIds: readonly string[]): Promise<readonly boolean[]> {
    return groupIds.map((groupId) => {
      const wasDue = this.#store.counted.get(groupId)?.due !== undefined;
      this.#store.counted.delete(groupId);
      this.#store.saved.delete(groupId);
      return wasDue;
    });
  }

  async quiet(limit: number, firstMs = QUIET.firstMs): Promise<readonly QuietGroup[]> {
    const now = this.#clock.now();
    const found: QuietGroup[] = [];
    for (const [groupId, group] of this.#store.counted) {
      if (found.length === limit) break;
      if (group.lookAt > now || group.due !== undefined) continue;
      const counted = group.parts.size;
      const isQuiet = group.seen === counted;
      if (!isQuiet) Object.assign(group, { seen: counted, since: now });
      const quietMs = now - group.since;
      group.lookAt = now + Math.min(Math.max(quietMs, firstMs), QUIET.lastMs);
      if (!isQuiet) continue;
      const { size, added, members, body, rootId, priority } = group;
      found.push({ groupId, quietMs, counted, expected: size === undefined ? undefined : size + added, members, body, rootId, priority });
    }
    return found;
  }

  async giveUp(groupId: string, reason: string): Promise<boolean> {
    const group = this.#store.counted.get(groupId);
    if (group === undefined || group.due !== undefined) return false;
    group.lost = reason;
    group.due = { memberId: "", rootId: group.rootId, priority: group.priority, until: this.#clock.now() + DUE_MS.completed };
    return true;
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
      const lookAt = this.#clock.now() + QUIET.newMs;
      group = { size: undefined, added: 0, parts: new Map(), body: "", members: [], rootId: "", priority: 0, lookAt, seen: undefined, since: 0, lost: undefined, due: undefined, expiresAt: 0 }; // prettier-ignore
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
