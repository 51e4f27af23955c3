/** Headers written into messages on loan. */
import type { Message } from "../../protocol/message.ts";
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import type { Checkpoints, Delivery, LoanAnswer } from "../broker.ts";
import { replaced } from "../envelope-edits.ts";
import { parseLoan } from "./delivery.ts";
import { MessageRows } from "./message-rows.ts";

export class SqliteCheckpoints implements Checkpoints {
  readonly #file: SqliteFile;
  readonly #messages: MessageRows;
  readonly #timing: { readonly timeoutMs: number };

  constructor(file: SqliteFile, timing: { readonly timeoutMs: number }) {
    this.#file = file;
    this.#messages = new MessageRows(file);
    this.#timing = timing;
  }

  async write(delivery: Delivery, message: Message): Promise<LoanAnswer> {
    const envelope = replaced(delivery.raw, message);
    const loan = parseLoan(delivery.loan);
    return await this.#file.write(() => {
      if (this.#file.sql("settle.onLoan").get(loan.holder, loan.take, loan.message) === undefined) return "lost";
      this.#messages.rewrite(loan.message, envelope);
      return "settled";
    }, this.#timing);
  }

  async begin({ loan, losses }: Delivery): Promise<LoanAnswer> {
    if (losses === 0) return "settled";
    const { holder, take, message } = parseLoan(loan);
    const { changes } = await this.#file.write(() => this.#file.sql("lease.begin").run(holder, take, message), this.#timing);
    return changes === 1 ? "settled" : "lost";
  }
}
