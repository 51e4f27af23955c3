/** Batches as rows of the embedded database. */
import type { SqliteFile } from "../../stores/sqlite/file.ts";
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
import type { Transaction } from "./groups.ts";

/** Expired batches that go with each new one. One may have a million members: no more. */
const EXPIRED_PER_BATCH = 1;
/** Ends in one transaction. */
const SLICE = 500;

interface Row {
  readonly batch: number;
  readonly id: string;
  readonly document: string;
  readonly events: string;
  readonly parent: string | null;
  readonly place: number | null;
  readonly places: number;
  withdrawn: number;
  succeeded: number;
  failed: number;
  dead: number;
  readonly created: number;
  sealed: number | null;
  completed: number | null;
  success: number | null;
  died: number | null;
  cancelled: number | null;
}

export class SqliteBatches implements Batches {
  readonly #file: SqliteFile;
  readonly #write: Transaction;
  readonly #read: Transaction;

  constructor(file: SqliteFile, write: Transaction, read: Transaction) {
    this.#file = file;
    this.#write = write;
    this.#read = read;
  }

  async begin({ id, document, callbacks, parentId, expiresMs }: NewBatch): Promise<boolean> {
    const events = (parentId === undefined ? callbacks : BATCH_EVENTS).join(" ");
    return await this.#write(() => {
      const now = this.#now();
      this.#file.sql("batch.expire").run(now, EXPIRED_PER_BATCH);
      if (this.#row(id) !== undefined) return true;
      const parent = parentId === undefined ? undefined : this.#row(parentId);
      const place = parent && this.#give(parent, 1);
      if (parentId !== undefined && place === undefined) return false;
      this.#file.sql("batch.begin").run(id, document, events, parentId ?? null, place ?? null, now, expiresMs);
      return true;
    });
  }

  async reserve(id: string, { adder, sequence, count }: Reservation): Promise<Reserved | undefined> {
    return await this.#write(() => {
      const row = this.#row(id);
      if (row === undefined) return undefined;
      const known = this.#file.sql("batch.reservation").get(row.batch, adder, sequence) as
        | { first: number; size: number; confirmed: number }
        | undefined;
      if (known?.size === count) return { first: known.first, isPublished: known.confirmed === 1 };
      const first = this.#give(row, count);
      if (first === undefined) return undefined;
      this.#file.sql("batch.add").run(row.batch, adder, sequence, first, count);
      return { first, isPublished: false };
    });
  }

  /** undefined: it takes no more. */
  #give({ batch }: Row, count: number): number | undefined {
    return (this.#file.sql("batch.give").get(batch, count, this.#now()) as { first: number } | undefined)?.first;
  }

  async confirm(id: string, adder: string, sequence: number): Promise<void> {
    await this.#write(() => {
      const row = this.#row(id);
      if (row !== undefined) this.#file.sql(adder.startsWith("-") ? "batch.dropAdd" : "batch.confirm").run(row.batch, adder, sequence);
    });
  }

  async withdraw(id: string, { adder, sequence }: Omit<Reservation, "count">, withdrawn: readonly number[]): Promise<void> {
    await this.#change(id, (row) => {
      this.#file.sql("batch.dropAdd").run(row.batch, adder, sequence);
      for (const place of withdrawn) this.#withdrawPlace(row, place);
    });
  }

  async seal(id: string): Promise<boolean> {
    return (await this.#change(id, (row, now) => (row.sealed ??= now))) !== undefined;
  }

  async die(id: string): Promise<boolean> {
    return ((await this.#change(id, () => undefined, { dies: true })) ?? 0) > 0;
  }

  async cancel(id: string): Promise<boolean> {
    return (await this.#change(id, (row, now) => (row.cancelled ??= now))) !== undefined;
  }

  async report(id: string, ends: readonly MemberEnd[], { signal }: { readonly signal?: AbortSignal } = {}): Promise<boolean> {
    let due = 0;
    for (let from = 0; from < ends.length; from += SLICE) {
      const some = ends.slice(from, from + SLICE);
      due +=
        (await this.#change(
          id,
          (row) => {
            for (const end of some) this.#count(row, end);
          },
          { signal },
        )) ?? 0;
    }
    return due > 0;
  }

  /** How many callbacks have become due by it; undefined when there is no such batch. */
  async #change(
    id: string,
    change: (row: Row, now: number) => void,
    { signal, dies = false }: { readonly signal?: AbortSignal | undefined; readonly dies?: boolean } = {},
  ): Promise<number | undefined> {
    return await this.#write(() => {
      const row = this.#row(id);
      if (row === undefined) return undefined;
      const now = this.#now();
      change(row, now);
      const due = happened(row, now, dies);
      const { batch, withdrawn, succeeded, failed, dead, sealed, completed, success, died, cancelled } = row;
      this.#file.sql("batch.write").run(batch, withdrawn, succeeded, failed, dead, sealed, completed, success, died, cancelled, now);
      for (const event of due) this.#file.sql("batch.addDue").run(id, event, now);
      return due.length;
    }, signal);
  }

  #count(row: Row, { place, state }: MemberEnd): void {
    if (place >= row.places) return;
    const before = this.#file.sql("batch.end").get(row.batch, place) as { state: number } | undefined;
    const old = MEMBER_STATES[before?.state ?? 0] as MemberState; // only their indexes are ever written
    if (old !== "succeeded" && old !== state) {
      if (old !== "pending") row[old] -= 1;
      row[state] += 1;
      this.#file.sql("batch.setEnd").run(row.batch, place, MEMBER_STATES.indexOf(state));
    }
    this.#withdraw(row, String(place));
  }

  /** What a member added and could not publish does not come any more: it would have done so in a later run. */
  #withdraw(row: Row, adder: string): void {
    const adds = this.#file.sql("batch.addsOf").all(row.batch, adder) as { first: number; size: number }[];
    for (const { first, size } of adds) for (let place = first; place < first + size; place++) this.#withdrawPlace(row, place);
    this.#file.sql("batch.dropAdds").run(row.batch, adder);
  }

  #withdrawPlace(row: Row, place: number): void {
    row.withdrawn += Number(this.#file.sql("batch.withdraw").run(row.batch, place).changes);
  }

  async read(ids: readonly string[]): Promise<readonly (BatchRecord | undefined)[]> {
    return await this.#read(() => ids.map((id) => recordOf(this.#row(id))));
  }

  async states(id: string, first: number, count: number): Promise<readonly MemberState[]> {
    return await this.#read(() => {
      const row = this.#row(id);
      const end = Math.min(first + count, row?.places ?? 0);
      const states: MemberState[] = Array.from({ length: Math.max(0, end - first) }, () => "pending");
      if (row === undefined) return states;
      const ends = this.#file.sql("batch.ends").all(row.batch, first, end) as { place: number; state: number }[];
      for (const { place, state } of ends) states[place - first] = MEMBER_STATES[state] as MemberState;
      return states;
    });
  }

  async children(id: string, first: number, count: number): Promise<readonly { readonly place: number; readonly id: string }[]> {
    return await this.#read(() => this.#file.sql("batch.children").all(id, first, count) as { place: number; id: string }[]);
  }

  async unconfirmed(id: string): Promise<readonly { readonly first: number; readonly count: number }[]> {
    return await this.#read(() => {
      const row = this.#row(id);
      const adds = row && (this.#file.sql("batch.unconfirmed").all(row.batch) as { first: number; size: number }[]);
      return (adds ?? []).map(({ first, size }) => ({ first, count: size }));
    });
  }

  async due({ limit, minAgeMs }: { readonly limit: number; readonly minAgeMs: number }): Promise<readonly DueCallback[]> {
    const rows = await this.#read(() => this.#file.sql("batch.due").all(this.#now() - minAgeMs, limit));
    return (rows as { id: string; event: BatchEvent }[]).map(({ id, event }) => ({ id, event }));
  }

  async done({ id, event }: DueCallback): Promise<boolean> {
    return await this.#write(() => Number(this.#file.sql("batch.done").run(id, event).changes) === 1);
  }

  async quiet({ limit, minAgeMs }: { readonly limit: number; readonly minAgeMs: number }): Promise<readonly string[]> {
    const now = this.#now();
    const rows = await this.#write(() => this.#file.sql("batch.quiet").all(now - minAgeMs, now, limit));
    return (rows as { id: string }[]).map(({ id }) => id);
  }

  async forget(id: string): Promise<void> {
    await this.#write(() => void this.#file.sql("batch.forget").run(id));
  }

  #row(id: string): Row | undefined {
    return this.#file.sql("batch.row").get(id, this.#now()) as Row | undefined;
  }

  #now(): number {
    return this.#file.clock.now();
  }
}

/** Notes in the row what has happened by now. Answers with what of it is due. */
function happened(row: Row, now: number, dies: boolean): readonly BatchEvent[] {
  const due: BatchEvent[] = [];
  const happens = (event: BatchEvent): void => {
    if (row.events.includes(event) && (row.cancelled === null || event === "complete")) due.push(event);
  };
  if (row.died === null && (dies || row.failed + row.dead > 0)) {
    row.died = now;
    happens("death");
  }
  const good = row.succeeded + row.withdrawn;
  if (row.sealed === null || good + row.failed + row.dead < row.places) return due;
  if (row.completed === null) {
    row.completed = now;
    happens("complete");
  }
  if (row.success === null && good === row.places) {
    row.success = now;
    happens("success");
  }
  return due;
}

function recordOf(row: Row | undefined): BatchRecord | undefined {
  if (row === undefined) return undefined;
  const { id, document, places, succeeded, failed, dead } = row;
  return {
    id,
    document,
    parentId: row.parent ?? undefined,
    place: row.place ?? undefined,
    total: places - row.withdrawn,
    succeeded,
    failed,
    dead,
    places,
    createdAt: row.created,
    sealedAt: row.sealed ?? undefined,
    completedAt: row.completed ?? undefined,
    succeededAt: row.success ?? undefined,
    diedAt: row.died ?? undefined,
    cancelledAt: row.cancelled ?? undefined,
  };
}
