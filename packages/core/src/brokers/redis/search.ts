/** Reads lists, loans and parked messages in portions, none of which holds Redis up. */
import { asList, asPairs, asText, asTexts } from "../../stores/redis/answers.ts";
import type { Answer, Argument } from "../../stores/redis/connection.ts";
import {
  aggregatedKey,
  aggregateKey,
  aggregatesKey,
  fairKeys,
  inboxesKey,
  inboxKey,
  limitLineKey,
  listKey,
  loansKey,
  parkedKey,
  unackedKey,
  workersKey,
} from "../../stores/redis/keys.ts";
import { atMost, type FoundMessage, type MessagePlace, type MessageSearch, type SearchOptions } from "../search.ts";
import { groupsOf } from "./aggregates.ts";
import type { RedisContext } from "./context.ts";
import { asking } from "./failures.ts";

const PAGE = 500;

export class RedisSearch implements MessageSearch {
  readonly #context: RedisContext;

  constructor(context: RedisContext) {
    this.#context = context;
  }

  messages({ queues, ...bounds }: SearchOptions): AsyncIterable<readonly FoundMessage[]> {
    return atMost(this.#all(queues), bounds);
  }

  async *#all(queues: readonly string[]): AsyncGenerator<readonly FoundMessage[], void, undefined> {
    const { shard, options } = this.#context;
    // On loan first, then what limits hold: what goes on meanwhile is looked for where it goes to, and told twice rather than missed.
    for (const worker of asTexts(await this.#command("ZRANGE", [workersKey(shard), 0, -1]))) yield* this.#loansOf(worker);
    for await (const page of this.#hash(unackedKey(shard, options.unackedKey)))
      yield page.flatMap(([, text]) => {
        const raw = kombuLoan(text);
        return raw === undefined ? [] : [{ at: { kind: "loan", worker: undefined } as const, raw }];
      });
    for (const queue of queues) {
      yield* this.#held(queue);
      for (const step of options.prioritySteps) yield* this.#list(listKey(shard, queue, step), { kind: "queue", queue });
      for await (const page of this.#hash(fairKeys(shard, queue).sorted))
        yield page.map(([, raw]) => ({ at: { kind: "queue", queue }, raw }));
      yield* this.#parked(queue);
      yield* this.#folded(queue);
    }
  }

  async *#loansOf(worker: string): AsyncGenerator<readonly FoundMessage[], void, undefined> {
    const { shard } = this.#context;
    const at = { kind: "loan", worker } as const;
    for await (const page of this.#hash(loansKey(shard, worker)))
      yield page.flatMap(([loan, raw]) => (loan.startsWith("@") ? [] : [{ at, raw }]));
    for (const list of asTexts(await this.#command("SMEMBERS", [inboxesKey(shard, worker)])))
      yield* this.#list(inboxKey(shard, worker, list), at);
  }

  async *#list(key: string, at: MessagePlace): AsyncGenerator<readonly FoundMessage[], void, undefined> {
    for (let from = 0; ; from += PAGE) {
      // From the end that is taken from, so that what is published meanwhile does not shift what is not read yet.
      const texts = asTexts(await this.#command("LRANGE", [key, -from - PAGE, -from - 1]));
      if (texts.length > 0) yield texts.map((raw) => ({ at, raw }));
      if (texts.length < PAGE) return;
    }
  }

  async *#parked(queue: string): AsyncGenerator<readonly FoundMessage[], void, undefined> {
    for (let from = 0; ; from += PAGE) {
      const page = asPairs(await this.#command("ZRANGE", [parkedKey(this.#context.shard, queue), from, from + PAGE - 1, "WITHSCORES"]));
      if (page.length > 0)
        yield page.map(([entry, dueAt]) => ({
          at: { kind: "parked", queue, dueAt: Number(dueAt) },
          raw: entry.slice(entry.search(/\n ?\{"/) + 1), // a loan, and perhaps a list, stand in front of it
        }));
      if (page.length < PAGE) return;
    }
  }

  /** A group is short: no more than a few runs of its task. */
  async *#folded(queue: string): AsyncGenerator<readonly FoundMessage[], void, undefined> {
    const { shard } = this.#context;
    for await (const groups of groupsOf(aggregatedKey(shard, queue), (name, args) => this.#command(name, args)))
      for (const group of groups) {
        const [texts, due] = await Promise.all([
          this.#command("LRANGE", [aggregateKey(shard, group), 0, -1]),
          this.#command("ZSCORE", [aggregatesKey(shard), group]),
        ]);
        const at = { kind: "parked", queue, dueAt: due === null ? 0 : Number(asText(due)) } as const;
        yield asTexts(texts).map((raw) => ({ at, raw: raw.slice(raw.search(/\n ?\{"/) + 1) }));
      }
  }

  /** All of a line have one score: they are in the order of their bytes. */
  async *#held(queue: string): AsyncGenerator<readonly FoundMessage[], void, undefined> {
    const key = limitLineKey(this.#context.shard, queue);
    for (let beyond: string | Buffer = "-"; ;) {
      const page = asList(await this.#command("ZRANGEBYLEX", [key, beyond, "+", "LIMIT", 0, PAGE])) as readonly Buffer[];
      if (page.length > 0) yield page.map((member) => heldMessage(queue, member));
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) return;
      beyond = Buffer.concat([Buffer.from("("), last]);
    }
  }

  async *#hash(key: string): AsyncGenerator<readonly (readonly [string, string])[], void, undefined> {
    let cursor = "0";
    do {
      const [next, page] = asList(await this.#command("HSCAN", [key, cursor, "COUNT", PAGE]));
      const pairs = asPairs(page);
      if (pairs.length > 0) yield pairs;
      cursor = asText(next);
    } while (cursor !== "0");
  }

  #command(name: string, args: readonly Argument[]): Promise<Answer> {
    return asking(this.#context, async (connection) => await connection.command(name, args));
  }
}

/** `[envelope, exchange, routing key]`. */
function kombuLoan(text: string): string | undefined {
  try {
    const [envelope] = JSON.parse(text) as unknown[];
    return typeof envelope === "object" && envelope !== null ? JSON.stringify(envelope) : undefined;
  } catch {
    return undefined; // not kombu's
  }
}

/** `limit-rules.lua` says how one is written: six lines, the length of the task's id in the last of them; the id; the envelope. */
function heldMessage(queue: string, member: Buffer): FoundMessage {
  let end = -1;
  let from = 0;
  for (let line = 0; line < 6; line++) [from, end] = [end + 1, member.indexOf(0x0a, end + 1)];
  const envelope = end + 1 + Number(member.toString("latin1", from, end));
  const limit = member.toString("utf8", 0, member.indexOf(0x0a));
  return { at: { kind: "held", queue, limit }, raw: member.toString("utf8", envelope) };
}
