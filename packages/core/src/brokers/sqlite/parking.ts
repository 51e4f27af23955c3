/** Messages kept aside until they are due. */
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import type { DelayedQueue } from "../broker.ts";
import { MessageRows, type MessageRow } from "./message-rows.ts";

/** Moved in one transaction. */
const SLICE = 500;

export class Parking implements DelayedQueue {
  readonly #file: SqliteFile;
  readonly #messages: MessageRows;
  readonly #limits: { flush(queue?: string): Promise<number> };
  readonly #timing: { readonly timeoutMs: number };

  /** @param limits what waits for them is flushed too */
  constructor(file: SqliteFile, timing: { readonly timeoutMs: number }, limits: { flush(queue?: string): Promise<number> }) {
    this.#file = file;
    this.#limits = limits;
    this.#messages = new MessageRows(file);
    this.#timing = timing;
  }

  async unpark(): Promise<{ moved: number; nextDueAt: number | undefined }> {
    const now = this.#file.clock.now();
    const next = await this.#nextDue();
    if (next === undefined || next > now) return { moved: 0, nextDueAt: next };
    const moved = await this.#move(() => this.#file.sql("park.takeDue").all(now, SLICE));
    return { moved, nextDueAt: await this.#nextDue() };
  }

  async flush(queue?: string): Promise<number> {
    const waiting = await this.#limits.flush(queue);
    if (queue === undefined) return waiting + (await this.#move(() => this.#file.sql("park.takeDue").all(Number.MAX_VALUE, SLICE)));
    const parked = await this.#move(() => {
      const number = this.#messages.known(queue);
      return number === undefined ? [] : this.#file.sql("park.takeOfQueue").all(number, SLICE);
    });
    return waiting + parked;
  }

  /** Slice by slice, the latest first: each slice goes to the front of those that follow it. */
  async #move(takeSlice: () => unknown[]): Promise<number> {
    let moved = 0;
    for (;;) {
      const count = await this.#file.write(() => {
        const rows = takeSlice() as (MessageRow & { readonly due: number })[];
        this.#messages.toFront(rows.toSorted((a, b) => a.due - b.due || a.place - b.place));
        return rows.length;
      }, this.#timing);
      moved += count;
      if (count < SLICE) break;
    }
    if (moved > 0) this.#file.bell.ring("ready");
    return moved;
  }

  async #nextDue(): Promise<number | undefined> {
    const row = await this.#file.read(() => this.#file.sql("park.nextDue").get() as { due: number | null }, this.#timing);
    return row.due ?? undefined;
  }
}
