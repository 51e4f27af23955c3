/** Groups as rows that name their messages. */
import { encodeEnvelope } from "../../protocol/envelope.ts";
import { newId } from "../../shared/ids.ts";
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import type { Aggregates, DueGroups, Fold } from "../aggregates.ts";
import type { Outgoing } from "../broker.ts";
import type { Envelope } from "../envelope-edits.ts";
import { priorityStep } from "../priority.ts";
import { parseLoan } from "./delivery.ts";
import { MessageRows, type MessageRow } from "./message-rows.ts";

interface Row {
  readonly message: number;
  readonly envelope: Envelope;
}

export class SqliteAggregates implements Aggregates {
  readonly #file: SqliteFile;
  readonly #messages: MessageRows;
  readonly #timing: { readonly timeoutMs: number };

  constructor(file: SqliteFile, timing: { readonly timeoutMs: number }) {
    this.#file = file;
    this.#messages = new MessageRows(file);
    this.#timing = timing;
  }

  async fold(folds: readonly Fold[]): Promise<readonly (number | "lost")[]> {
    return await this.#file.write(() => folds.map((fold) => this.#foldOne(fold)), this.#timing);
  }

  #foldOne({ delivery, group, dueAt }: Fold): number | "lost" {
    const { holder, take, message } = parseLoan(delivery.loan);
    const row = this.#file.sql("settle.endKnown").get(holder, take, message) as MessageRow | undefined;
    if (row === undefined) return "lost";
    this.#file.sql("aggregate.begin").run(group, dueAt, row.queue);
    this.#file.sql("aggregate.add").run(group, message);
    return (this.#file.sql("aggregate.count").get(group) as { count: number }).count;
  }

  async due(now: number, limit: number): Promise<DueGroups> {
    return await this.#file.read(() => {
      const rows = this.#file.sql("aggregate.due").all(now, limit) as { name: string }[];
      const { due } = this.#file.sql("aggregate.nextDue").get(now) as { due: number | null };
      return { groups: rows.map(({ name }) => name), nextDueAt: due ?? undefined };
    }, this.#timing);
  }

  async first(group: string, limit: number): Promise<readonly Envelope[]> {
    return await this.#file.read(() => this.#rows(group, limit).map(({ envelope }) => envelope), this.#timing);
  }

  async publish(group: string, taken: readonly Envelope[], { message, exchange, routingKey }: Outgoing): Promise<boolean> {
    const text = encodeEnvelope(message, { exchange, routingKey }, newId());
    const isOurs = await this.#file.write(() => {
      const rows = this.#rows(group, taken.length);
      if (rows.length !== taken.length || rows.some(({ envelope }, i) => !isSame(envelope, taken[i]))) return false;
      for (const row of rows) {
        this.#file.sql("aggregate.remove").run(group, row.message);
        this.#messages.drop(row.message);
      }
      this.#file.sql("aggregate.end").run(group);
      this.#messages.post([{ text, exchange, routingKey, step: priorityStep(message.properties.priority) }]);
      return true;
    }, this.#timing);
    if (isOurs) this.#file.bell.ring("ready");
    return isOurs;
  }

  #rows(group: string, limit: number): readonly Row[] {
    return this.#file.sql("aggregate.first").all(group, limit) as Row[];
  }
}

function isSame(one: Envelope, other: Envelope | undefined): boolean {
  return other !== undefined && Buffer.compare(Buffer.from(one), Buffer.from(other)) === 0;
}
