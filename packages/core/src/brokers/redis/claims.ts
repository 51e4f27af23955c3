/**
 * Messages that are worked on before their loan is confirmed. A blocking read has put such a message into the worker's inbox and
 * told what it is; the reserve that makes a loan of it is sent in the same moment, so that the task need not wait for its answer.
 * What settles the loan goes over the same connection after it. When that connection breaks in between, or Redis refuses the reserve,
 * the session is attached anew and first makes up for what was not executed.
 *
 * Invariant: while a claim is open its message is in the inbox, or is the loan that the claim names, or the lease is lost.
 */
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { loadScript } from "../../stores/redis/scripts.ts";
import type { RedisDelivery } from "./delivery.ts";
import type { InboxOf } from "./waiter.ts";

export const reserveScript = loadScript("reserve");

export interface Claim {
  readonly delivery: RedisDelivery;
  readonly from: InboxOf;
  /** The reserve that confirms it goes over this one, or never does. */
  readonly connection: RedisConnection;
}

export class Claims {
  readonly #open = new Set<Claim>();

  add(claim: Claim): void {
    this.#open.add(claim);
  }

  isOpen(claim: Claim): boolean {
    return this.#open.has(claim);
  }

  get areAny(): boolean {
    return this.#open.size > 0;
  }

  /** Whether the loan of it is not confirmed yet. */
  has(delivery: RedisDelivery): boolean {
    for (const claim of this.#open) if (claim.delivery === delivery) return true;
    return false;
  }

  /** The reserve was answered; `first` is the first message of it. False when that is another. */
  confirm(claim: Claim, first: unknown): boolean {
    this.#open.delete(claim);
    return Buffer.isBuffer(first) && first.equals(claim.delivery.raw);
  }

  /** The lease is lost, and with it everything. */
  clear(): void {
    this.#open.clear();
  }

  /** @param loans what the worker has on loan now: a claim that is among them was confirmed without our hearing of it */
  async makeUp(connection: RedisConnection, loansKey: string, epoch: string, prefix: string, loans: readonly string[]): Promise<void> {
    for (const claim of this.#open) {
      const { delivery, from } = claim;
      if (!loans.includes(delivery.loan)) {
        const keys = [loansKey, from.inbox, from.source.list];
        // When nothing is there it was confirmed, and settled too.
        await connection.script(reserveScript, keys, [epoch, prefix, delivery.number, 1, delivery.raw.length, 0, 1]);
      }
      this.#open.delete(claim);
    }
  }
}
