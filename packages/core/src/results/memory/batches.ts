/** Batches in this process's memory. Each step is synchronous, so that nothing comes between its parts. */
import type { Clock } from "../../shared/clock.ts";
import {
  BATCH_EVENTS,
  type Batches,
  type BatchEvent,
  type BatchRecord,
  type DueCallback,
  type MemberEnd,
  MEMBER_STATES,
  type MemberState,
  type NewBatch,
  type Reservation,
  type Reserved,
} from "../batches.ts";

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

interface Kept {
  readonly record: Mutable<BatchRecord>;
  readonly events: ReadonlySet<BatchEvent>;
  readonly expiresMs: number;
  /** One byte for each place. */
  states: Uint8Array;
  withdrawn: number;
  readonly adds: Map<string, { readonly first: number; readonly count: number; isConfirmed: boolean }>;
  /** Adder -> how many reservations it made. */
  readonly adders: Map<string, number>;
  readonly children: Map<number, string>;
  seenAt: number;
  expiresAt: number;
}

/** What all backends of one name share. */
export class MemoryBatchStore {
  readonly batches = new Map<string, Kept>();
  readonly due = new Map<string, DueCallback & { readonly since: number }>();
}

export class MemoryBatches implements Batches {
  readonly #store: MemoryBatchStore;
  readonly #clock: Clock;

  constructor(store: MemoryBatchStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  async begin({ id, document, callbacks, parentId, expiresMs }: NewBatch): Promise<boolean> {
    if (this.#live(id) !== undefined) return true;
    let place: number | undefined;
    if (parentId !== undefined) {
      const parent = this.#live(parentId);
      place = parent && this.#take(parent, 1);
      if (parent === undefined || place === undefined) return false;
      parent.children.set(place, id);
    }
    this.#expireSome();
    const createdAt = this.#clock.now();
    const none = { total: 0, succeeded: 0, failed: 0, dead: 0, places: 0 };
    const never = { sealedAt: undefined, completedAt: undefined, succeededAt: undefined, diedAt: undefined, cancelledAt: undefined };
    this.#store.batches.set(id, {
      record: { id, document, parentId, place, ...none, createdAt, ...never },
      events: new Set(parentId === undefined ? callbacks : BATCH_EVENTS),
      expiresMs,
      states: new Uint8Array(16),
      withdrawn: 0,
      adds: new Map(),
      adders: new Map(),
      children: new Map(),
      seenAt: createdAt,
      expiresAt: createdAt + expiresMs,
    });
    return true;
  }

  async reserve(id: string, { adder, sequence, count }: Reservation): Promise<Reserved | undefined> {
    const batch = this.#live(id);
    if (batch === undefined) return undefined;
    const known = batch.adds.get(`${adder}:${sequence}`);
    if (known?.count === count) return { first: known.first, isPublished: known.isConfirmed };
    const first = this.#take(batch, count);
    if (first === undefined) return undefined;
    batch.adds.set(`${adder}:${sequence}`, { first, count, isConfirmed: false });
    batch.adders.set(adder, Math.max(batch.adders.get(adder) ?? 0, sequence + 1));
    return { first, isPublished: false };
  }

  /** undefined: it takes no more. */
  #take(batch: Kept, count: number): number | undefined {
    const { record } = batch;
    if (record.completedAt !== undefined || record.cancelledAt !== undefined) return undefined;
    const first = record.places;
    record.places += count;
    record.total = record.places - batch.withdrawn;
    return first;
  }

  async confirm(id: string, adder: string, sequence: number): Promise<void> {
    const batch = this.#live(id);
    const reservation = batch?.adds.get(`${adder}:${sequence}`);
    if (batch === undefined || reservation === undefined) return;
    reservation.isConfirmed = true;
    if (!adder.startsWith("-")) return;
    batch.adds.delete(`${adder}:${sequence}`);
    batch.adders.delete(adder);
  }

  async withdraw(id: string, { adder, sequence }: Omit<Reservation, "count">, withdrawn: readonly number[]): Promise<void> {
    const batch = this.#live(id);
    if (batch === undefined) return;
    batch.adds.delete(`${adder}:${sequence}`);
    this.#withdrawPlaces(batch, withdrawn);
    this.#look(batch);
  }

  async seal(id: string): Promise<boolean> {
    const batch = this.#live(id);
    if (batch === undefined) return false;
    batch.record.sealedAt ??= this.#clock.now();
    this.#look(batch);
    return true;
  }

  async die(id: string): Promise<boolean> {
    const batch = this.#live(id);
    return batch !== undefined && this.#look(batch, true);
  }

  async cancel(id: string): Promise<boolean> {
    const batch = this.#live(id);
    if (batch === undefined) return false;
    batch.record.cancelledAt ??= this.#clock.now();
    this.#look(batch);
    return true;
  }

  async report(id: string, ends: readonly MemberEnd[], { signal }: { readonly signal?: AbortSignal } = {}): Promise<boolean> {
    signal?.throwIfAborted();
    const batch = this.#live(id);
    if (batch === undefined) return false;
    for (const { place, state } of ends) {
      if (place >= batch.record.places) continue;
      this.#count(batch, place, state);
      this.#withdraw(batch, String(place));
    }
    return this.#look(batch);
  }

  #count(batch: Kept, place: number, state: MemberEnd["state"]): void {
    const before = this.#stateAt(batch, place);
    if (before === "succeeded" || before === state) return;
    if (before !== "pending") batch.record[before] -= 1;
    batch.record[state] += 1;
    this.#set(batch, place, state);
  }

  /** What a member added and could not publish does not come any more: it would have done so in a later run. */
  #withdraw(batch: Kept, adder: string): void {
    const count = batch.adders.get(adder) ?? 0;
    for (let sequence = 0; sequence < count; sequence++) {
      const reservation = batch.adds.get(`${adder}:${sequence}`);
      batch.adds.delete(`${adder}:${sequence}`);
      if (reservation === undefined || reservation.isConfirmed) continue;
      const { first, count: size } = reservation;
      this.#withdrawPlaces(
        batch,
        Array.from({ length: size }, (_, i) => first + i),
      );
    }
    batch.adders.delete(adder);
  }

  #withdrawPlaces(batch: Kept, places: readonly number[]): void {
    for (const place of places) {
      if (this.#stateAt(batch, place) !== "pending") continue;
      this.#set(batch, place, "succeeded");
      batch.withdrawn += 1;
    }
  }

  /** Notes what has happened by now; whether anything of it is due. */
  #look(batch: Kept, dies = false): boolean {
    const { record, withdrawn } = batch;
    const now = this.#clock.now();
    record.total = record.places - withdrawn;
    batch.seenAt = now;
    batch.expiresAt = now + batch.expiresMs;
    let due = false;
    const happens = (event: BatchEvent): void => {
      if (!batch.events.has(event) || (record.cancelledAt !== undefined && event !== "complete")) return;
      this.#store.due.set(`${event} ${record.id}`, { id: record.id, event, since: now });
      due = true;
    };
    if (record.diedAt === undefined && (dies || record.failed + record.dead > 0)) {
      record.diedAt = now;
      happens("death");
    }
    if (record.sealedAt === undefined || record.succeeded + record.failed + record.dead < record.total) return due;
    if (record.completedAt === undefined) {
      record.completedAt = now;
      happens("complete");
    }
    if (record.succeededAt === undefined && record.succeeded === record.total) {
      record.succeededAt = now;
      happens("success");
    }
    return due;
  }

  async read(ids: readonly string[]): Promise<readonly (BatchRecord | undefined)[]> {
    return ids.map((id) => {
      const record = this.#live(id)?.record;
      return record && { ...record };
    });
  }

  async states(id: string, first: number, count: number): Promise<readonly MemberState[]> {
    const batch = this.#live(id);
    const end = Math.min(first + count, batch?.record.places ?? 0);
    return batch === undefined ? [] : Array.from({ length: Math.max(0, end - first) }, (_, i) => this.#stateAt(batch, first + i));
  }

  async children(id: string, first: number, count: number): Promise<readonly { readonly place: number; readonly id: string }[]> {
    const children = [...(this.#live(id)?.children ?? [])].filter(([place]) => place >= first);
    return children
      .toSorted(([a], [b]) => a - b)
      .slice(0, count)
      .map(([place, child]) => ({ place, id: child }));
  }

  async unconfirmed(id: string): Promise<readonly { readonly first: number; readonly count: number }[]> {
    return [...(this.#live(id)?.adds.values() ?? [])]
      .filter(({ isConfirmed }) => !isConfirmed)
      .map(({ first, count }) => ({ first, count }));
  }

  async due({ limit, minAgeMs }: { readonly limit: number; readonly minAgeMs: number }): Promise<readonly DueCallback[]> {
    const before = this.#clock.now() - minAgeMs;
    return [...this.#store.due.values()]
      .filter(({ since }) => since <= before)
      .slice(0, limit)
      .map(({ id, event }) => ({ id, event }));
  }

  async done({ id, event }: DueCallback): Promise<boolean> {
    return this.#store.due.delete(`${event} ${id}`);
  }

  async quiet({ limit, minAgeMs }: { readonly limit: number; readonly minAgeMs: number }): Promise<readonly string[]> {
    const now = this.#clock.now();
    const quiet = [...this.#store.batches.values()]
      .filter(({ record, seenAt }) => record.sealedAt !== undefined && record.completedAt === undefined && seenAt <= now - minAgeMs)
      .toSorted((a, b) => a.seenAt - b.seenAt)
      .slice(0, limit);
    for (const batch of quiet) batch.seenAt = now;
    return quiet.map(({ record }) => record.id);
  }

  async forget(id: string): Promise<void> {
    this.#store.batches.delete(id);
    for (const event of BATCH_EVENTS) this.#store.due.delete(`${event} ${id}`);
  }

  #stateAt({ states }: Kept, place: number): MemberState {
    return MEMBER_STATES[states[place] ?? 0] as MemberState; // only their indexes are ever written
  }

  #set(batch: Kept, place: number, state: MemberState): void {
    if (place >= batch.states.length) {
      const wider = new Uint8Array(Math.max(place + 1, 2 * batch.states.length));
      wider.set(batch.states);
      batch.states = wider;
    }
    batch.states[place] = MEMBER_STATES.indexOf(state);
  }

  #live(id: string): Kept | undefined {
    const batch = this.#store.batches.get(id);
    if (batch === undefined || batch.expiresAt > this.#clock.now()) return batch;
    void this.forget(id);
    return undefined;
  }

  /** Two for each new one, so that what has piled up melts away. */
  #expireSome(): void {
    let left = 2;
    for (const id of this.#store.batches.keys()) {
      if (left-- === 0) return;
      this.#live(id);
    }
  }
}
