/**
 * A message: what travels from a producer to a consumer, whichever broker carries it.
 * Over AMQP these are the real headers, properties and body; in Redis and SQLite the three are one JSON text, the
 * envelope (`envelope.ts`). After celery-protocol.md, sections 1.2 and 2.
 */
export interface Message {
  readonly headers: MessageHeaders;
  readonly properties: MessageProperties;
  /** e.g. `application/json`. */
  readonly contentType: string;
  /** e.g. `utf-8` or `binary`. */
  readonly contentEncoding: string;
  /** Serialised, and compressed when `headers.compression` says so. */
  readonly body: Uint8Array;
}

/** Celery's spelling and units; only `protocol/` reads or writes single fields. */
export type MessageHeaders = Readonly<Record<string, unknown>>;

export interface MessageProperties {
  readonly correlationId: string | undefined;
  readonly replyTo: string | undefined;
  /** 2 is persistent, 1 transient. */
  readonly deliveryMode: 1 | 2;
  /** As the producer wrote it, unclamped. On Redis and SQLite 0 is served first, on RabbitMQ last. */
  readonly priority: number;
  /** Milliseconds from publishing after which AMQP drops the message; other brokers ignore it. */
  readonly expirationMs: number | undefined;
  /** Properties we do not know, as they were: a Python retry puts `origin` there. */
  readonly others: Readonly<Record<string, unknown>>;
}

/** Where a message was published to, and whether this is not its first delivery. */
export interface DeliveryInfo {
  readonly exchange: string;
  readonly routingKey: string;
  readonly redelivered: boolean;
}

/** An instant with the very text in which the wire gave it, so that a retry repeats it unchanged (microseconds, offset). */
export interface WireInstant {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** ISO-8601, offset included. */
  readonly text: string;
}
