/** Groups in this process's memory. */
import { encodeEnvelope } from "../../protocol/envelope.ts";
import { newId } from "../../shared/ids.ts";
import type { Aggregates, DueGroups, Fold } from "../aggregates.ts";
import type { Outgoing } from "../broker.ts";
import type { Envelope } from "../envelope-edits.ts";
import type { MemoryStore } from "./store.ts";

export class MemoryAggregates implements Aggregates {
  readonly #store: MemoryStore;

  constructor(store: MemoryStore) {
    this.#store = store;
  }

  async fold(folds: readonly Fold[]): Promise<readonly (number | "lost")[]> {
    const { groups } = this.#store;
    return folds.map(({ delivery, group, dueAt }) => {
      const entry = this.#store.endLoan(delivery.loan);
      if (entry === undefined) return "lost";
      const held = groups.get(group) ?? { queue: entry.queue, dueAt, envelopes: [] };
      groups.set(group, held);
      return held.envelopes.push(entry.raw);
    });
  }

  async due(now: number, limit: number): Promise<DueGroups> {
    const all = [...this.#store.groups].toSorted(([, a], [, b]) => a.dueAt - b.dueAt);
    const due = all.filter(([, { dueAt }]) => dueAt <= now);
    return { groups: due.slice(0, limit).map(([group]) => group), nextDueAt: all[due.length]?.[1].dueAt };
  }

  async first(group: string, limit: number): Promise<readonly Envelope[]> {
    return this.#store.groups.get(group)?.envelopes.slice(0, limit) ?? [];
  }

  async publish(group: string, taken: readonly Envelope[], { message, exchange, routingKey }: Outgoing): Promise<boolean> {
    const held = this.#store.groups.get(group);
    if (held === undefined || taken.some((envelope, i) => held.envelopes[i] !== envelope)) return false;
    held.envelopes.splice(0, taken.length);
    if (held.envelopes.length === 0) this.#store.groups.delete(group);
    this.#store.add(routingKey, encodeEnvelope(message, { exchange, routingKey }, newId()), message.properties.priority);
    return true;
  }
}
