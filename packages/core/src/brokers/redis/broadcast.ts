/** Fanout through Redis channels, named as kombu names them (celery-protocol.md, section 3.4). Who is away misses messages. */
import { decodeEnvelope, encodeEnvelope } from "../../protocol/envelope.ts";
import type { Message } from "../../protocol/message.ts";
import { newId } from "../../shared/ids.ts";
import { fanoutChannel } from "../../stores/redis/keys.ts";
import { Subscriber } from "../../stores/redis/subscriber.ts";
import type { Broadcast, Replies, SubscriptionEvents } from "../broker.ts";
import { Inbox } from "../inbox.ts";
import { topicMatches } from "../topic.ts";
import type { RedisContext } from "./context.ts";
import { asking } from "./failures.ts";
import { ReplyQueues } from "./reply-queues.ts";

interface Listener {
  /** The exchange's channel, without a routing key. */
  readonly base: string;
  readonly pattern: string;
  readonly hear: (message: Message, raw: Buffer) => void;
  readonly subscribed: (() => void) | undefined;
}

export class RedisBroadcast implements Broadcast {
  readonly #context: RedisContext;
  readonly #subscriber: Subscriber;
  /** Redis pattern -> who listens to it. */
  readonly #listeners = new Map<string, Set<Listener>>();
  /** Redis pattern of a channel of ours -> who wants to know that something was said there. */
  readonly #attending = new Map<string, Set<() => void>>();
  /** Those that were in force at least once. */
  readonly #known = new Set<string>();
  readonly #replies: ReplyQueues;

  constructor(context: RedisContext) {
    this.#context = context;
    const events = {
      message: (name: string, channel: string, payload: Buffer) => this.#onMessage(name, channel, payload),
      subscribed: (names: readonly string[]) => this.#onSubscribed(names),
    };
    this.#replies = new ReplyQueues(context);
    this.#subscriber = new Subscriber(
      "patterns",
      events,
      context.clock,
      (onOpen) => context.newLink("listen to broadcasts", { onOpen, eager: true }),
      { sibling: () => context.commands.current },
    );
  }

  async publish(message: Message, exchange: string, routingKey: string): Promise<void> {
    const { shard, options } = this.#context;
    const envelope = encodeEnvelope(message, { exchange, routingKey }, newId());
    await asking(
      this.#context,
      async (connection) => await connection.command("PUBLISH", [fanoutChannel(shard, options, exchange, routingKey), envelope]),
    );
  }

  subscribe(exchange: string, pattern: string, signal: AbortSignal, events?: SubscriptionEvents): AsyncIterable<Message> {
    const inbox = new Inbox<Message>(signal);
    this.listen(exchange, pattern, signal, (message) => inbox.push(message), events?.subscribed?.bind(events));
    return inbox;
  }

  async openReplies(exchange: string, routingKey: string): Promise<Replies> {
    return await this.#replies.open(exchange, routingKey);
  }

  async reply(message: Message, exchange: string, routingKey: string): Promise<void> {
    await this.#replies.send(message, exchange, routingKey);
  }

  /** Calls `hear` for each message until `signal` aborts. */
  listen(exchange: string, pattern: string, signal: AbortSignal, hear: Listener["hear"], subscribed?: () => void): void {
    if (signal.aborted) return;
    const { shard, options } = this.#context;
    const base = fanoutChannel(shard, { ...options, fanoutPatterns: false }, exchange, "");
    const name = escapeGlob(base) + (options.fanoutPatterns ? globOf(pattern) : "");
    const listener: Listener = { base, pattern, hear, subscribed };
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    if (this.#known.has(name)) subscribed?.();
    else this.#subscriber.add(name);
    const end = (): void => {
      listeners.delete(listener);
      if (listeners.size > 0 || this.#listeners.get(name) !== listeners) return;
      this.#listeners.delete(name);
      this.#known.delete(name);
      this.#subscriber.drop(name);
    };
    signal.addEventListener("abort", end, { once: true });
  }

  /** Calls `heard` when something is said on this channel, whatever it is, and when something may have been missed; until `signal` aborts. */
  attend(channel: string, signal: AbortSignal, heard: () => void): void {
    if (signal.aborted) return;
    const name = escapeGlob(channel);
    const attending = this.#attending.get(name) ?? new Set();
    this.#attending.set(name, attending.add(heard));
    this.#subscriber.add(name);
    const end = (): void => {
      attending.delete(heard);
      if (attending.size > 0 || this.#attending.get(name) !== attending) return;
      this.#attending.delete(name);
      this.#subscriber.drop(name);
    };
    signal.addEventListener("abort", end, { once: true });
  }

  close(): void {
    this.#subscriber.close();
  }

  #onSubscribed(names: readonly string[]): void {
    for (const name of names) {
      for (const heard of this.#attending.get(name) ?? []) heard();
      const listeners = this.#listeners.get(name);
      if (listeners === undefined) continue;
      this.#known.add(name);
      for (const { subscribed } of listeners) subscribed?.();
    }
  }

  #onMessage(name: string, channel: string, payload: Buffer): void {
    for (const heard of this.#attending.get(name) ?? []) heard();
    const listeners = this.#listeners.get(name);
    if (!listeners || listeners.size === 0) return;
    try {
      const { message, info } = decodeEnvelope(payload);
      for (const { base, pattern, hear } of listeners) {
        if (channel !== base && !channel.startsWith(`${base}/`)) continue;
        if (pattern === "" || pattern === "#" || topicMatches(pattern, info.routingKey)) hear(message, payload);
      }
    } catch (error) {
      this.#context.logger.debug({ err: error, pattern: name }, "a broadcast that is no message was ignored");
    }
  }
}

/** A Redis glob that lets through at least what the pattern does; the rest is sorted out here. The empty key has no `/`. */
function globOf(pattern: string): string {
  if (pattern === "") return "";
  if (pattern === "#") return "*";
  return `/${escapeGlob(pattern).replaceAll("\\*", "*").replaceAll("#", "*")}`;
}

const escapeGlob = (text: string): string => text.replaceAll(/[*?[\]\\]/g, String.raw`\$&`);
