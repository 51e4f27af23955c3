import type { Message } from "../protocol/message.ts";

export interface Broadcast {
  publish(message: Message, exchange: string, routingKey: string): Promise<void>;
  /** Messages whose routing key matches the pattern (`#` any words, `*` one), from now until `signal` aborts. */
  subscribe(exchange: string, pattern: string, signal: AbortSignal, events?: SubscriptionEvents): AsyncIterable<Message>;
  /** Opens a place for answers, which whoever knows its address reaches with `reply`. It is there once this resolves. */
  openReplies(exchange: string, routingKey: string): Promise<Replies>;
  /** Sends an answer to whoever opened that place; to nobody when it is there no more. */
  reply(message: Message, exchange: string, routingKey: string): Promise<void>;
}

/** Told, not asked: must not throw. */
export interface SubscriptionEvents {
  /** It is in force, for the first time, or again after messages may have been missed. May be called before `subscribe` returns. */
  subscribed?(): void;
}

/** Disposing it removes the place and what was not read. One that is left behind by a crash is removed by a later `openReplies`. */
export interface Replies extends AsyncDisposable {
  /** In the order they came, until `signal` aborts. To be read once. */
  messages(signal: AbortSignal): AsyncIterable<Message>;
}
