/**
 * Fanout over a table that everyone reads from where they stand; a row is deleted a minute after it was sent.
 */
import { decodeEnvelope, encodeEnvelope } from "../../protocol/envelope.ts";
import type { Message } from "../../protocol/message.ts";
import { newId } from "../../shared/ids.ts";
import type { SqliteFile } from "../../stores/sqlite/file.ts";
import type { Broadcast, Replies, SubscriptionEvents } from "../broker.ts";
import { Inbox } from "../inbox.ts";
import { openRepliesByFanout } from "../replies-by-fanout.ts";
import { topicMatches } from "../topic.ts";

const KEPT_MS = 60_000;
const CLEAN_EVERY_MS = 10_000;

interface Subscription {
  readonly exchange: string;
  readonly pattern: string;
  readonly inbox: Inbox<Message>;
  readonly events: SubscriptionEvents | undefined;
}

interface Row {
  readonly number: number;
  readonly exchange: string;
  readonly key: string;
  readonly envelope: string;
}

export class Fanout implements Broadcast {
  readonly #file: SqliteFile;
  readonly #timeoutMs: number;
  readonly #closed: AbortSignal;
  readonly #subscriptions = new Set<Subscription>();
  #listening: Disposable | undefined;
  #last = 0;
  #cleanAt = 0;

  constructor(file: SqliteFile, timeoutMs: number, closed: AbortSignal) {
    this.#file = file;
    this.#timeoutMs = timeoutMs;
    this.#closed = closed;
  }

  async publish(message: Message, exchange: string, routingKey: string): Promise<void> {
    const envelope = encodeEnvelope(message, { exchange, routingKey }, newId());
    await this.#file.write(
      () => {
        const now = this.#file.clock.now();
        this.#file.sql("broadcast.send").run(exchange, routingKey, envelope, now);
        if (now < this.#cleanAt) return;
        this.#cleanAt = now + CLEAN_EVERY_MS;
        this.#file.sql("broadcast.forget").run(now - KEPT_MS);
      },
      { timeoutMs: this.#timeoutMs },
    );
    this.#file.bell.ring("broadcasts");
  }

  subscribe(exchange: string, pattern: string, until: AbortSignal, events?: SubscriptionEvents): AsyncIterable<Message> {
    const signal = AbortSignal.any([until, this.#closed]);
    const inbox = new Inbox<Message>(signal);
    if (signal.aborted) return inbox;
    const subscription = { exchange, pattern, inbox, events };
    if (this.#listening === undefined) {
      this.#last = this.#newest();
      this.#listening = this.#file.bell.listen("broadcasts", () => this.#read());
    } else {
      this.#read(); // what was sent before now is not this subscriber's
    }
    this.#subscriptions.add(subscription);
    signal.addEventListener("abort", () => this.#unsubscribe(subscription), { once: true });
    events?.subscribed?.();
    return inbox;
  }

  async openReplies(exchange: string, routingKey: string): Promise<Replies> {
    return openRepliesByFanout(this, exchange, routingKey);
  }

  async reply(message: Message, exchange: string, routingKey: string): Promise<void> {
    await this.publish(message, exchange, routingKey);
  }

  #unsubscribe(subscription: Subscription): void {
    this.#subscriptions.delete(subscription);
    if (this.#subscriptions.size > 0) return;
    this.#listening?.[Symbol.dispose]();
    this.#listening = undefined;
  }

  #newest(): number {
    return (this.#file.sql("broadcast.last").get() as { number: number } | undefined)?.number ?? 0;
  }

  #read(): void {
    let rows: Row[];
    do {
      rows = this.#file.sql("broadcast.after").all(this.#last) as Row[];
      // What was sent while this process stood still may have been deleted since.
      if (rows[0] !== undefined && rows[0].number > this.#last + 1) for (const { events } of this.#subscriptions) events?.subscribed?.();
      for (const { number, exchange, key, envelope } of rows) {
        this.#last = number;
        for (const subscription of this.#subscriptions) {
          if (subscription.exchange !== exchange || !topicMatches(subscription.pattern, key)) continue;
          subscription.inbox.push(decodeEnvelope(envelope).message);
        }
      }
    } while (rows.length > 0);
  }
}
