/** Locks of unique tasks as an operator sees them: `app.unique`. */
import type { UniqueLock, Uniques } from "../brokers/uniques.ts";
import type { Lovage } from "./app.ts";
import { UnsupportedByBrokerError } from "./errors.ts";

const LIST_MAX = 1000;

export class UniqueLocks {
  readonly #app: Lovage;

  constructor(app: Lovage) {
    this.#app = app;
  }

  /** Locks that are held, those of one queue or all; at most `limit` (1000). @throws UnsupportedByBrokerError, BrokerUnavailableError */
  async list(options: { readonly limit?: number; readonly queue?: string } = {}): Promise<readonly UniqueLock[]> {
    const { limit = LIST_MAX, queue } = options;
    return await (await this.#uniques()).list({ limit, queue });
  }

  /**
   * Frees a lock, whoever holds it, as if its task had ended: the next call is no duplicate. The task itself goes on.
   * @param name as `list` has it: the task's name, a colon, and the key
   * @returns the id of the task that held it; undefined when nobody did
   */
  async break(name: string): Promise<string | undefined> {
    return await (await this.#uniques()).break(name);
  }

  async #uniques(): Promise<Uniques> {
    const broker = await this.#app.broker();
    if (broker.uniques === undefined) throw new UnsupportedByBrokerError("unique tasks", broker.kind);
    return broker.uniques;
  }
}
