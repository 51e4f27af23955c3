/** Results as rows of the embedded database. */
import { SqliteBusyError, SqliteFileError } from "../../stores/sqlite/errors.ts";
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import type { SqliteLease } from "../../stores/sqlite/open.ts";
import { storeResults } from "../../stores/sqlite/result-rows.ts";
import type { SqliteSpec } from "../../stores/sqlite/spec.ts";
import { BackendRefusedError, BackendUnavailableError } from "../errors.ts";
import type { ResultBackend, ResultText, ResultWrite } from "../result-backend.ts";
import { SqliteBatches } from "./batches.ts";
import { SqliteGroups, type Transaction } from "./groups.ts";
import { Watches } from "./watches.ts";

/** Deleted in one transaction. */
const CLEANUP_SLICE = 1000;

interface CallOptions {
  readonly signal?: AbortSignal;
}

export class SqliteBackend implements ResultBackend {
  readonly kind = "sqlite";
  readonly location: string;
  readonly sharedStore: SqliteFile;
  readonly groups: SqliteGroups;
  readonly batches: SqliteBatches;
  readonly #lease: SqliteLease;
  readonly #file: SqliteFile;
  readonly #timeoutMs: number;
  readonly #watches: Watches;

  constructor(spec: SqliteSpec, lease: SqliteLease) {
    this.location = `sqlite://${lease.file.path}`;
    this.sharedStore = lease.file;
    this.#lease = lease;
    this.#file = lease.file;
    this.#timeoutMs = spec.timeoutMs;
    this.#watches = new Watches(lease.file);
    const write: Transaction = (work, signal) => this.#write(work, signal);
    const read: Transaction = (work, signal) => this.#read(work, signal);
    this.groups = new SqliteGroups(lease.file, write, read);
    this.batches = new SqliteBatches(lease.file, write, read);
  }

  async store(writes: readonly ResultWrite[], { signal }: CallOptions = {}): Promise<void> {
    if (writes.length === 0) return;
    await this.#write(() => storeResults(this.#file, writes, this.#file.clock.now()), signal);
    this.#file.bell.ring("results");
  }

  async fetch(taskIds: readonly string[], { signal }: CallOptions = {}): Promise<readonly (ResultText | undefined)[]> {
    const now = this.#file.clock.now();
    const fetch = this.#file.sql("result.fetch");
    return this.#read(() => taskIds.map((taskId) => (fetch.get(taskId, now) as { document: ResultText } | undefined)?.document), signal);
  }

  /** Documents stored by other processes between two looks count as one: the last is told. */
  async watch(taskId: string, onDocument: (document: ResultText) => void): Promise<Disposable> {
    return this.#read(() => this.#watches.add(taskId, onDocument));
  }

  async forget(taskIds: readonly string[]): Promise<void> {
    await this.#write(() => {
      for (const taskId of taskIds) this.#file.sql("result.forget").run(taskId);
    });
  }

  async cleanup(): Promise<number> {
    let deleted = 0;
    for (;;) {
      const now = this.#file.clock.now();
      const count = await this.#write(() => Number(this.#file.sql("result.expire").run(now, CLEANUP_SLICE).changes));
      deleted += count;
      if (count < CLEANUP_SLICE) return deleted;
      await new Promise(setImmediate); // others have their turn between the slices
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watches.close();
    await this.#lease[Symbol.asyncDispose]();
  }

  async #write<T>(work: () => T, signal?: AbortSignal): Promise<T> {
    return this.#asBackend(this.#file.write(work, { signal, timeoutMs: this.#timeoutMs }));
  }

  async #read<T>(work: () => T, signal?: AbortSignal): Promise<T> {
    return this.#asBackend(this.#file.read(work, { signal, timeoutMs: this.#timeoutMs }));
  }

  async #asBackend<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (error instanceof SqliteBusyError) throw new BackendUnavailableError(this.location, error);
      if (error instanceof SqliteFileError) throw new BackendRefusedError(this.location, error.message, { cause: error });
      throw error;
    }
  }
}
