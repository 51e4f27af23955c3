/**
 * Where a message goes: exchange and routing key to lists or a channel. Bindings are what kombu keeps in Redis, and topic patterns
 * are the regular expressions it stored, so that both sides agree (celery-protocol.md, section 3.2).
 */
import { asTexts } from "../../stores/redis/answers.ts";
import type { RedisConnection } from "../../stores/redis/connection.ts";
import { bindingKey, fanoutChannel, listKey } from "../../stores/redis/keys.ts";
import type { Outgoing, QueueSpec } from "../broker.ts";
import type { RedisContext } from "./context.ts";

export type Route =
  | { readonly kind: "lists"; readonly lists: readonly string[] }
  | { readonly kind: "channel"; readonly channel: string }
  /** No binding takes it. */
  | { readonly kind: "nowhere" };

type Bindings = readonly { readonly routingKey: string; readonly pattern: string; readonly queue: string }[];

export class Router {
  readonly #context: RedisContext;
  /** What this process declared, to declare it anew should the bindings be gone. */
  readonly #declared = new Map<string, QueueSpec[]>();
  readonly #patterns = new Map<string, RegExp | undefined>();
  readonly #told = new Set<string>();
  /** Where the last message without an exchange went: mostly where the next one goes. */
  #last: { readonly routingKey: string; readonly priority: number; readonly route: Route } | undefined;

  constructor(context: RedisContext) {
    this.#context = context;
  }

  async declare(connection: RedisConnection, specs: readonly QueueSpec[]): Promise<void> {
    for (const spec of specs) {
      const known = this.#declared.get(spec.exchange) ?? [];
      if (!known.some((each) => each.name === spec.name && each.routingKey === spec.routingKey))
        this.#declared.set(spec.exchange, [...known, spec]);
    }
    await Promise.all(specs.filter((spec) => spec.exchange !== "").map(async (spec) => await this.#bind(connection, spec)));
  }

  /** Queues that were declared on a fanout exchange have no list: their messages come through a channel. */
  fanoutOf(queue: string): QueueSpec | undefined {
    for (const specs of this.#declared.values()) {
      const spec = specs.find((each) => each.name === queue && each.exchangeType === "fanout");
      if (spec) return spec;
    }
    return undefined;
  }

  /** The answer without asking Redis, when it does not depend on bindings: for the exchange "" and for fanout. */
  known({ exchange, routingKey, message }: Outgoing): Route | undefined {
    if (exchange === "") {
      const { priority } = message.properties;
      if (this.#last?.routingKey !== routingKey || this.#last.priority !== priority)
        this.#last = { routingKey, priority, route: this.#toQueues([routingKey], priority) };
      return this.#last.route;
    }
    const { shard, options } = this.#context;
    if (this.#declared.get(exchange)?.[0]?.exchangeType !== "fanout") return undefined;
    return { kind: "channel", channel: fanoutChannel(shard, options, exchange, routingKey) };
  }

  /** One route for each message. Reads the bindings of each exchange once. */
  async routes(connection: RedisConnection, messages: readonly Outgoing[]): Promise<readonly Route[]> {
    const tables = new Map<string, Promise<Bindings>>();
    const tableOf = async (exchange: string): Promise<Bindings> => {
      const table = tables.get(exchange) ?? this.#table(connection, exchange);
      tables.set(exchange, table);
      return await table;
    };
    return await Promise.all(
      messages.map(async (outgoing) => {
        const known = this.known(outgoing);
        return known ?? this.#match(await tableOf(outgoing.exchange), outgoing);
      }),
    );
  }

  /** The lists of a message that Python stored, by kombu's rule; to its routing key's queue when no binding takes it. */
  async listsOf(connection: RedisConnection, exchange: string, routingKey: string, priority: number): Promise<readonly string[]> {
    const queues = exchange === "" ? [] : this.#reached(await this.#table(connection, exchange), routingKey);
    const route = this.#toQueues(queues.length > 0 ? queues : [routingKey], priority);
    return route.lists;
  }

  #match(table: Bindings, { routingKey, message }: Outgoing): Route {
    const queues = this.#reached(table, routingKey);
    if (queues.length > 0) return this.#toQueues(queues, message.properties.priority);
    const { unroutedQueue } = this.#context.options;
    return unroutedQueue === undefined ? { kind: "nowhere" } : this.#toQueues([unroutedQueue], message.properties.priority);
  }

  #reached(table: Bindings, routingKey: string): readonly string[] {
    const taken = table.filter(({ pattern, routingKey: key }) =>
      pattern === "" ? key === routingKey : this.#matches(pattern, routingKey),
    );
    return [...new Set(taken.map(({ queue }) => queue))];
  }

  #toQueues(queues: readonly string[], priority: number): Extract<Route, { kind: "lists" }> {
    const step = priorityStep(this.#context.options.prioritySteps, priority);
    return { kind: "lists", lists: queues.map((queue) => listKey(this.#context.shard, queue, step)) };
  }

  async #table(connection: RedisConnection, exchange: string): Promise<Bindings> {
    const key = bindingKey(this.#context.shard, exchange);
    const members = asTexts(await connection.command("SMEMBERS", [key]));
    if (members.length > 0) return members.map((member) => this.#parse(member));
    const declared = this.#declared.get(exchange);
    if (!declared) return [];
    if (!this.#told.has(exchange)) {
      this.#told.add(exchange);
      this.#context.logger.warn(
        { key },
        "the bindings of this exchange were gone from Redis and are declared anew; does maxmemory-policy let Redis evict keys?",
      );
    }
    await Promise.all(declared.map(async (spec) => await this.#bind(connection, spec)));
    return declared.map((spec) => this.#parse(this.#member(spec)));
  }

  async #bind(connection: RedisConnection, spec: QueueSpec): Promise<void> {
    await connection.command("SADD", [bindingKey(this.#context.shard, spec.exchange), this.#member(spec)]);
  }

  #member(spec: QueueSpec): string {
    return [spec.routingKey, spec.exchangeType === "topic" ? topicRegex(spec.routingKey) : "", spec.name].join(
      this.#context.options.separator,
    );
  }

  #parse(member: string): Bindings[number] {
    const [routingKey = "", pattern = "", ...queue] = member.split(this.#context.options.separator);
    return { routingKey, pattern, queue: queue.join(this.#context.options.separator) };
  }

  #matches(pattern: string, routingKey: string): boolean {
    if (!this.#patterns.has(pattern)) this.#patterns.set(pattern, compile(pattern));
    return this.#patterns.get(pattern)?.test(routingKey) ?? false;
  }
}

/** The largest step that is not above the priority, which is cut to 0..9; what is no integer counts as 0 (section 3.3). */
export function priorityStep(steps: readonly number[], priority: number): number {
  const cut = Number.isInteger(priority) ? Math.min(9, Math.max(0, priority)) : 0;
  return steps.findLast((step) => step <= cut) ?? steps[0] ?? 0;
}

/**
 * As kombu 5.6 makes it (kombu/transport/virtual/exchange.py, TopicExchange.key_to_pattern): `*` also matches several words. kombu 5.7
 * stores another expression for `*`; a queue that is bound with both is still reached once.
 */
export function topicRegex(key: string): string {
  const word = (part: string): string => {
    if (part === "*") return String.raw`.*?[^\.]`;
    if (part === "#") return ".*?";
    return part.replaceAll(/[^\p{L}\p{N}]/gu, String.raw`\$&`);
  };
  return `^${key
    .split(".")
    .map(word)
    .join(String.raw`\.`)}$`;
}

function compile(pattern: string): RegExp | undefined {
  try {
    return new RegExp(pattern);
  } catch {
    return undefined; // written by something that is not kombu: reaches nobody
  }
}
