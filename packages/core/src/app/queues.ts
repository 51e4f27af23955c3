/** Queues and exchanges as users declare them in `taskQueues`, and the plain form that the rest of the app uses. */
import type { QueueSpec } from "../brokers/broker.ts";
import { isPlain, NotAccepted } from "./setting-kinds.ts";
import type { ExchangeType } from "./task-options.ts";

export interface ExchangeOptions {
  readonly type?: ExchangeType;
}

/** `new Exchange("media", { type: "topic" })`. The default type is `taskDefaultExchangeType`. */
export class Exchange {
  readonly name: string;
  readonly type: ExchangeType | undefined;

  constructor(name: string, options: ExchangeOptions = {}) {
    this.name = name;
    this.type = options.type;
  }
}

export interface QueueOptions {
  /** Default: an exchange named as the queue. */
  readonly exchange?: Exchange | string;
  readonly exchangeType?: ExchangeType;
  /** Default: the queue's name. */
  readonly routingKey?: string;
  /** More than one way into the queue; instead of `exchange` and `routingKey`. */
  readonly bindings?: readonly {
    readonly exchange: Exchange | string;
    readonly routingKey: string;
    readonly exchangeType?: ExchangeType;
  }[];
  /**
   * Workers take its messages by turns among their keys (`fairKey`), so that one with very many keeps no other waiting. Default false.
   * Every worker of the queue must say the same.
   */
  readonly fair?: boolean;
  /** Only AMQP looks at these. */
  readonly queueArguments?: Readonly<Record<string, unknown>>;
  /** Only AMQP. */
  readonly maxPriority?: number;
}

/** `new Queue("default", new Exchange("default"), { routingKey: "default" })`, as in kombu. */
export class Queue {
  readonly name: string;
  readonly options: QueueOptions;

  constructor(name: string, exchange?: Exchange | string | QueueOptions, options: QueueOptions = {}) {
    this.name = name;
    const isExchange = typeof exchange === "string" || exchange instanceof Exchange;
    this.options = isExchange ? { ...options, exchange } : { ...exchange, ...options };
  }
}

export type QueueInput = Queue | string | ({ readonly name: string } & QueueOptions);
export type QueuesInput = readonly QueueInput[] | Readonly<Record<string, QueueOptions>>;

/** A queue with all that is bound to it; the first binding is how messages for the queue are published. */
export interface DeclaredQueue {
  readonly name: string;
  readonly bindings: readonly QueueSpec[];
  readonly queueArguments: Readonly<Record<string, unknown>>;
  readonly fair?: boolean;
}

/** A queue before `taskDefaultExchangeType` is known. */
export interface QueueDeclaration {
  readonly name: string;
  readonly options: QueueOptions;
}

export function readQueues(value: unknown): readonly QueueDeclaration[] {
  if (Array.isArray(value)) return value.map((item, index) => readQueue(item, `item ${index}`));
  if (isPlain(value)) return Object.entries(value).map(([name, options]) => readQueue({ ...(options as object), name }, name));
  throw new NotAccepted();
}

function readQueue(value: unknown, where: string): QueueDeclaration {
  if (typeof value === "string") return { name: value, options: {} };
  if (!isPlain(value) || typeof value["name"] !== "string" || value["name"] === "") throw new NotAccepted(`${where} has no name`);
  if (isPlain(value["options"])) return { name: value["name"], options: value["options"] }; // a Queue, maybe of another copy of this class
  const { name, exchange, exchangeType, exchange_type, routingKey, routing_key, bindings, ...rest } = value;
  const options = {
    ...rest,
    ...given("exchange", exchange),
    ...given("exchangeType", exchangeType ?? exchange_type),
    ...given("routingKey", routingKey ?? routing_key),
    ...given("bindings", bindings),
  };
  return { name, options: options };
}

function given(key: string, value: unknown): object {
  return value === undefined ? {} : { [key]: value };
}

/** Fills in what kombu and Celery fill in: exchange and routing key default to the queue's name. */
export function declareQueue(declaration: QueueDeclaration, defaultType: ExchangeType): DeclaredQueue {
  const { name, options } = declaration;
  const ways = options.bindings ?? [
    {
      exchange: options.exchange ?? name,
      routingKey: options.routingKey ?? name,
      ...(options.exchangeType === undefined ? {} : { exchangeType: options.exchangeType }),
    },
  ];
  return {
    name,
    queueArguments: options.queueArguments ?? {},
    ...(options.fair === true && { fair: true }),
    bindings: ways.map((way) => ({
      name,
      exchange: typeof way.exchange === "string" ? way.exchange : way.exchange.name,
      exchangeType: way.exchangeType ?? (typeof way.exchange === "string" ? undefined : way.exchange.type) ?? defaultType,
      routingKey: way.routingKey,
    })),
  };
}
