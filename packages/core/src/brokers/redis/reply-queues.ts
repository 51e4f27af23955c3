/**
 * Queues for answers, as kombu's mailbox has them: `<routing key>.<exchange>`, bound to a direct exchange, so that Python
 * answers too. kombu leaves those of a client that crashed in Redis for ever; ours are noted, and the next client that
 * opens one removes what is long past.
 */
import { decodeEnvelope, encodeEnvelope } from "../../protocol/envelope.ts";
import type { Message } from "../../protocol/message.ts";
import { sleep } from "../../shared/clock.ts";
import { newId } from "../../shared/ids.ts";
import { asList, asTexts } from "../../stores/redis/answers.ts";
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { RedisGoneError } from "../../stores/redis/errors.ts";
import { bindingKey, listKey, replyQueuesKey } from "../../stores/redis/keys.ts";
import type { RedisLink } from "../../stores/redis/link.ts";
import type { Replies } from "../broker.ts";
import type { RedisContext } from "./context.ts";
import { asking } from "./failures.ts";

/** Nobody waits for answers for so long, however clocks differ. */
const LONG_PAST_MS = 3_600_000;
const REMOVED_AT_ONCE = 100;
const BLOCK_MS = 5000;
const REFUSED_PAUSE_MS = 500;

/** What is noted of a queue: enough to remove it. */
interface ReplyQueue {
  readonly exchange: string;
  readonly routingKey: string;
}

export class ReplyQueues {
  readonly #context: RedisContext;

  constructor(context: RedisContext) {
    this.#context = context;
  }

  async open(exchange: string, routingKey: string): Promise<Replies> {
    const { clock, shard, newLink } = this.#context;
    const queue = { exchange, routingKey };
    await asking(this.#context, async (connection) => {
      await this.#removePast(connection);
      // Noted first: a crash between the two leaves a note without a queue, and not the reverse.
      await connection.command("ZADD", [replyQueuesKey(shard), Math.floor(clock.now()), JSON.stringify(queue)]);
      await connection.command("SADD", [bindingKey(shard, exchange), this.#binding(queue)]);
    });
    const link = newLink("wait for replies");
    return {
      messages: (signal) => this.#read(link, queue, signal),
      [Symbol.asyncDispose]: async () => {
        link.close();
        await asking(this.#context, async (connection) => await this.#remove(connection, queue));
      },
    };
  }

  /** As kombu does: to each queue that is bound under this key, which is one or none. */
  async send(message: Message, exchange: string, routingKey: string): Promise<void> {
    const { shard, options } = this.#context;
    const start = `${routingKey}${options.separator}`;
    await asking(this.#context, async (connection) => {
      const bindings = asTexts(await connection.command("SMEMBERS", [bindingKey(shard, exchange)]));
      const envelope = encodeEnvelope(message, { exchange, routingKey }, newId());
      for (const binding of bindings) {
        if (!binding.startsWith(start)) continue;
        const queue = binding.split(options.separator).slice(2).join(options.separator);
        await connection.command("LPUSH", [listKey(shard, queue, 0), envelope]);
      }
    });
  }

  async *#read(link: RedisLink, queue: ReplyQueue, signal: AbortSignal): AsyncGenerator<Message, void, undefined> {
    const { clock, logger } = this.#context;
    const list = this.#lists(queue)[0] as string;
    const end = (): void => link.close();
    signal.addEventListener("abort", end, { once: true });
    try {
      while (!signal.aborted) {
        try {
          const connection = await link.connection(signal);
          const answer = await connection.blocking("BRPOP", [list, BLOCK_MS / 1000], BLOCK_MS);
          if (answer === null) continue;
          const [, envelope] = asList(answer);
          yield decodeEnvelope(envelope as Buffer).message;
        } catch (error) {
          if (signal.aborted) return;
          logger.debug({ err: error }, "a reply could not be read");
          if (!(error instanceof RedisGoneError)) await sleep(clock, REFUSED_PAUSE_MS, signal).catch(() => undefined);
        }
      }
    } finally {
      signal.removeEventListener("abort", end);
    }
  }

  async #removePast(connection: RedisConnection): Promise<void> {
    const { clock, shard } = this.#context;
    const before = Math.floor(clock.now() - LONG_PAST_MS);
    const past = asTexts(await connection.command("ZRANGEBYSCORE", [replyQueuesKey(shard), "-inf", before, "LIMIT", 0, REMOVED_AT_ONCE]));
    for (const note of past) {
      const queue = readNote(note);
      if (queue) await this.#remove(connection, queue);
      await connection.command("ZREM", [replyQueuesKey(shard), note]);
    }
  }

  async #remove(connection: RedisConnection, queue: ReplyQueue): Promise<void> {
    const { shard } = this.#context;
    await connection.command("SREM", [bindingKey(shard, queue.exchange), this.#binding(queue)]);
    await connection.command("DEL", this.#lists(queue));
    await connection.command("ZREM", [replyQueuesKey(shard), JSON.stringify(queue)]);
  }

  #binding({ exchange, routingKey }: ReplyQueue): string {
    const { separator } = this.#context.options;
    return `${routingKey}${separator}${separator}${routingKey}.${exchange}`;
  }

  #lists({ exchange, routingKey }: ReplyQueue): string[] {
    const { shard, options } = this.#context;
    return options.prioritySteps.map((step) => listKey(shard, `${routingKey}.${exchange}`, step));
  }
}

function readNote(note: string): ReplyQueue | undefined {
  try {
    const { exchange, routingKey } = JSON.parse(note) as Partial<ReplyQueue>;
    return typeof exchange === "string" && typeof routingKey === "string" ? { exchange, routingKey } : undefined;
  } catch {
    return undefined;
  }
}
