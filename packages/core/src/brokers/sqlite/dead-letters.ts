import type { SqliteFile } from "../../stores/sqlite/file.ts";
import type { DeadLetter, DeadLetterPage, DeadLetters } from "../broker.ts";
import type { Envelope } from "../envelope-edits.ts";
import { MessageRows, type MessageRow } from "./message-rows.ts";

interface DeadRow extends Omit<DeadLetter, "task" | "queue" | "raw"> {
  readonly number: number;
  readonly task: string | null;
  readonly envelope: Envelope;
}

export class SqliteDeadLetters implements DeadLetters {
  readonly #file: SqliteFile;
  readonly #messages: MessageRows;
  readonly #timing: { readonly timeoutMs: number };

  constructor(file: SqliteFile, timing: { readonly timeoutMs: number }) {
    this.#file = file;
    this.#messages = new MessageRows(file);
    this.#timing = timing;
  }

  /** The cursor is the number of the last entry of the page before. */
  async page(queue: string, { limit, cursor }: { readonly limit: number; readonly cursor?: string }): Promise<DeadLetterPage> {
    const before = cursor === undefined ? Number.MAX_SAFE_INTEGER : Number(cursor);
    const rows = await this.#file.read(() => {
      const number = this.#messages.known(queue);
      return number === undefined ? [] : (this.#file.sql("dead.page").all(number, before, limit + 1) as DeadRow[]);
    }, this.#timing);
    const page = rows.slice(0, limit);
    const entries = page.map(({ number: _, task, envelope, ...row }) => ({
      ...row,
      task: task ?? undefined,
      queue,
      raw: envelope,
    }));
    return { entries, cursor: rows.length > limit ? String(page.at(-1)?.number) : undefined };
  }

  async restore(queue: string, id: string): Promise<boolean> {
    const found = await this.#file.write(() => {
      const number = this.#messages.known(queue);
      if (number === undefined) return false;
      return this.#messages.exhume(number, id, (row) => this.#messages.toBack({ ...row, queue: number, losses: 0 }));
    }, this.#timing);
    if (found) this.#file.bell.ring("ready");
    return found;
  }

  async purge(queue: string): Promise<number> {
    return this.#file.write(() => {
      const number = this.#messages.known(queue);
      const rows = number === undefined ? [] : (this.#file.sql("dead.purge").all(number) as MessageRow[]);
      for (const { message } of rows) this.#messages.drop(message);
      return rows.length;
    }, this.#timing);
  }
}
