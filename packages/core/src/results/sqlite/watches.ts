/**
 * Who waits for which result, and what each has yet to be told. All watches of a backend share one ear on the bell and
 * one position in the numbers that each store gives its row: what is above it is new.
 */
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import type { ResultText } from "../result-backend.ts";

type OnDocument = (document: ResultText) => void;

/** Up to so many new rows are looked through; beyond, or when fewer are watched, the watched ones are looked up. */
const SCAN_AT_LEAST = 100;

export class Watches {
  readonly #file: SqliteFile;
  readonly #watched = new Map<string, Set<OnDocument>>();
  #listening: Disposable | undefined;
  #last = 0;

  constructor(file: SqliteFile) {
    this.#file = file;
  }

  add(taskId: string, onDocument: OnDocument): Disposable {
    if (this.#listening === undefined) {
      this.#last = this.#newest();
      this.#listening = this.#file.bell.listen("results", () => this.#tell());
    }
    // Read after the position was taken: what another process stores in between is told twice and never missed.
    const present = this.#file.sql("result.fetch").get(taskId, this.#file.clock.now()) as { document: ResultText } | undefined;
    const one: OnDocument = (document) => onDocument(document);
    const those = this.#watched.get(taskId) ?? new Set();
    this.#watched.set(taskId, those.add(one));
    if (present !== undefined) this.#later(those, one, present.document);
    return { [Symbol.dispose]: () => this.#remove(taskId, one) };
  }

  close(): void {
    this.#watched.clear();
    this.#listening?.[Symbol.dispose]();
    this.#listening = undefined;
  }

  #remove(taskId: string, one: OnDocument): void {
    const those = this.#watched.get(taskId);
    those?.delete(one);
    if (those?.size === 0) this.#watched.delete(taskId);
    if (this.#watched.size === 0) this.close();
  }

  #tell(): void {
    const newest = this.#newest();
    const last = this.#last;
    if (newest === last) return;
    const changed = this.#file.sql("result.changed");
    for (const taskId of this.#candidates(last, newest)) {
      const row = changed.get(taskId, last) as { document: ResultText } | undefined;
      const those = this.#watched.get(taskId);
      if (row !== undefined) for (const one of those ?? []) this.#later(those, one, row.document);
    }
    this.#last = newest;
  }

  /** The watched tasks that may have something new: whichever is cheaper, all of them or those among the new rows. */
  #candidates(last: number, newest: number): readonly string[] {
    if (newest - last > Math.max(SCAN_AT_LEAST, 4 * this.#watched.size)) return [...this.#watched.keys()];
    const rows = this.#file.sql("result.after").all(last) as { readonly task: string }[];
    return rows.map(({ task }) => task).filter((task) => this.#watched.has(task));
  }

  /** In a turn of its own, so that a watcher that throws does not break who stores. */
  #later(those: ReadonlySet<OnDocument> | undefined, one: OnDocument, document: ResultText): void {
    queueMicrotask(() => {
      if (those?.has(one)) one(document);
    });
  }

  #newest(): number {
    return (this.#file.sql("result.last").get() as { last: number }).last;
  }
}
