/** Headers written into messages on loan, in this process's memory. */
import type { Message } from "../../protocol/message.ts";
import type { Checkpoints, Delivery, LoanAnswer } from "../broker.ts";
import { replaced } from "../envelope-edits.ts";
import type { MemoryStore } from "./store.ts";

export class MemoryCheckpoints implements Checkpoints {
  readonly #store: MemoryStore;

  constructor(store: MemoryStore) {
    this.#store = store;
  }

  async write({ loan }: Delivery, message: Message): Promise<LoanAnswer> {
    const entry = this.#store.onLoan(loan);
    if (entry === undefined) return "lost";
    entry.raw = replaced(entry.raw, message);
    return "settled";
  }

  async begin({ loan, losses }: Delivery): Promise<LoanAnswer> {
    return losses === 0 || this.#store.begin(loan) ? "settled" : "lost";
  }
}
