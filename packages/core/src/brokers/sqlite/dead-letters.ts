import type { SqliteFile } from "../../stores/sqlite/file.ts";
import type {
  DeadLetter, DeadLetterCaps, DeadLetterCounts, DeadLetterFilter, DeadLetterPage, DeadLetterPageOptions, DeadLetterReason, DeadLetters, RestoreOptions,
} from "../broker.ts"; // prettier-ignore
import { begunAnew, type Envelope } from "../envelope-edits.ts";
import { MessageRows, type MessageRow } from "./message-rows.ts";

interface DeadRow extends Omit<DeadLetter, "task" | "queue" | "raw" | "stack"> {
  readonly number: number;
  readonly task: string | null;
  readonly stack: string | null;
  readonly envelope: Envelope;
}

/** Letters that one transaction looks at: a few milliseconds. */
const PORTION = 2000;
const EXPIRED_AT_ONCE = 500;

type Bounds = readonly (string | number | null)[];

export class SqliteDeadLetters implements DeadLetters {
  readonly #file: SqliteFile;
  readonly #messages: MessageRows;
  readonly #timing: { readonly timeoutMs: number };
  readonly #caps: DeadLetterCaps;

  constructor(file: SqliteFile, timing: { readonly timeoutMs: number }, caps: DeadLetterCaps) {
    this.#caps = caps;
    this.#file = file;
    this.#messages = new MessageRows(file);
    this.#timing = timing;
  }

  /** The cursor is the number above which all was seen. */
  async page(queue: string, { limit, cursor, filter }: DeadLetterPageOptions): Promise<DeadLetterPage> {
    return await this.#file.read(() => {
      const number = this.#messages.known(queue);
      if (number === undefined) return { entries: [], cursor: undefined };
      const { bounds, next } = this.#portion(number, cursor, filter);
      const rows = this.#file.sql("dead.page").all(...bounds, limit + 1) as DeadRow[];
      const page = rows.slice(0, limit);
      const entries = page.map((row) => letterOf(row, queue));
      return { entries, cursor: rows.length > limit ? String(page.at(-1)?.number) : next };
    }, this.#timing);
  }

  async get(queue: string, id: string): Promise<DeadLetter | undefined> {
    return await this.#file.read(() => {
      const number = this.#messages.known(queue);
      const row = number === undefined ? undefined : (this.#file.sql("dead.get").get(number, id) as DeadRow | undefined);
      return row && letterOf(row, queue);
    }, this.#timing);
  }

  async count(queue: string, filter?: DeadLetterFilter): Promise<DeadLetterCounts> {
    const counts: Partial<Record<DeadLetterReason, number>> = {};
    await this.#portions(
      queue,
      filter,
      (work) => this.#file.read(work, this.#timing),
      (bounds) => {
        const rows = this.#file.sql("dead.reasons").all(...bounds) as { reason: DeadLetterReason; count: number }[];
        return () => {
          for (const { reason, count } of rows) counts[reason] = (counts[reason] ?? 0) + count;
        };
      },
    );
    return counts;
  }

  async restore(queue: string, id: string, { raw }: RestoreOptions = {}): Promise<boolean> {
    const found = await this.#file.write(() => {
      const number = this.#messages.known(queue);
      if (number === undefined) return false;
      return this.#messages.exhume(number, id, (row) => {
        const envelope = begunAnew(raw ?? this.#messages.envelope(row.message), row.reason);
        this.#messages.rewrite(row.message, envelope);
        this.#messages.toBack({ ...row, queue: number, losses: 0, bytes: envelope.length });
      });
    }, this.#timing);
    if (found) this.#file.bell.ring("ready");
    return found;
  }

  async remove(queue: string, id: string): Promise<boolean> {
    return await this.#file.write(() => {
      const number = this.#messages.known(queue);
      return number !== undefined && this.#messages.exhume(number, id, ({ message }) => this.#messages.drop(message));
    }, this.#timing);
  }

  async expire(queues: readonly string[]): Promise<number> {
    const { maxAgeMs } = this.#caps;
    if (maxAgeMs === Infinity) return 0;
    const before = this.#file.clock.now() - maxAgeMs;
    const oldOnes = (): readonly number[] =>
      queues.flatMap((queue) => {
        const number = this.#messages.known(queue);
        const oldest = number === undefined ? undefined : (this.#file.sql("dead.oldest").get(number) as { at: number } | undefined);
        return number !== undefined && oldest !== undefined && oldest.at < before ? [number] : [];
      });
    if ((await this.#file.read(oldOnes, this.#timing)).length === 0) return 0; // asked often, and seldom so
    return await this.#file.write(() => {
      let count = 0;
      for (const number of oldOnes()) {
        const rows = this.#file.sql("dead.expire").all(number, before, EXPIRED_AT_ONCE) as { message: number }[];
        for (const { message } of rows) this.#messages.drop(message);
        count += rows.length;
      }
      return count;
    }, this.#timing);
  }

  async purge(queue: string, filter?: DeadLetterFilter): Promise<number> {
    let purged = 0;
    await this.#portions(
      queue,
      filter,
      (work) => this.#file.write(work, this.#timing),
      (bounds) => {
        const rows = this.#file.sql("dead.purge").all(...bounds) as MessageRow[];
        for (const { message } of rows) this.#messages.drop(message);
        return () => (purged += rows.length);
      },
    );
    return purged;
  }

  /** From the newest to the oldest. `look` runs in a transaction, perhaps more than once; what it returns once, after it. */
  async #portions(
    queue: string,
    filter: DeadLetterFilter | undefined,
    transaction: (work: () => Portion) => Promise<Portion>,
    look: (bounds: Bounds) => () => void,
  ): Promise<void> {
    let cursor: string | undefined;
    do {
      const { told, next } = await transaction(() => {
        const number = this.#messages.known(queue);
        if (number === undefined) return {};
        const portion = this.#portion(number, cursor, filter);
        return { told: look(portion.bounds), next: portion.next };
      });
      told?.();
      cursor = next;
      await new Promise(setImmediate); // others have their turn between the portions
    } while (cursor !== undefined);
  }

  /** The parameters of `page` and its like, and the cursor of the portion after it. */
  #portion(queue: number, cursor: string | undefined, filter: DeadLetterFilter = {}): { bounds: Bounds; next: string | undefined } {
    const below = cursor === undefined ? Number.MAX_SAFE_INTEGER : Number(cursor);
    const floor = this.#file.sql("dead.floor").get(queue, below, PORTION - 1) as { number: number } | undefined;
    const list = (names: readonly string[] | undefined): string | null => (names === undefined ? null : JSON.stringify(names));
    const { reasons, tasks, since = null, before = null } = filter;
    return {
      bounds: [queue, below, floor?.number ?? 0, list(reasons), list(tasks), since, before],
      next: floor === undefined ? undefined : String(floor.number),
    };
  }
}

interface Portion {
  readonly told?: () => void;
  readonly next?: string | undefined;
}

function letterOf({ number: _, task, stack, envelope, ...row }: DeadRow, queue: string): DeadLetter {
  return { ...row, ...(stack === null ? {} : { stack }), task: task ?? undefined, queue, raw: envelope };
}
