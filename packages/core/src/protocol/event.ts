/**
 * Events: what workers and clients tell monitors of tasks and of themselves (celery-protocol 10). Written one at a time,
 * or as a list for a whole group of types; both are read.
 */
import { ProtocolError } from "./errors.ts";
import type { DecodeLimits } from "./limits.ts";
import type { Message } from "./message.ts";
import { decodeBody, encodeBody, type SerializerName } from "./serializers.ts";

export const EVENT_EXCHANGE = "celeryev";

/** Who tells, and when. */
export interface EventOrigin {
  /** Node name: `celery@host`, or `gen<pid>@host` for a client. */
  readonly hostname: string;
  readonly pid: number;
  /** The sender's Lamport clock. */
  readonly clock: number;
  /** ms since 1970. */
  readonly at: number;
  /** Hours west of UTC, rounded down: 0 for UTC, -2 for UTC+2. Receivers shift `at` by its difference to their own. */
  readonly utcOffset: number;
}

export type CeleryEvent =
  | {
      readonly type: "task-sent";
      readonly uuid: string;
      readonly rootId: string | null;
      readonly parentId: string | null;
      /** The alias (`shadow`) where there is one. */
      readonly name: string;
      /** As Python's repr. */
      readonly args: string;
      readonly kwargs: string;
      readonly retries: number;
      /** ISO-8601, as in the message. */
      readonly eta: string | null;
      readonly expires: string | null;
      readonly queue: string;
      readonly exchange: string;
      readonly routingKey: string;
    }
  | {
      readonly type: "task-received";
      readonly uuid: string;
      readonly name: string;
      readonly args: string;
      readonly kwargs: string;
      readonly rootId: string | null;
      readonly parentId: string | null;
      readonly retries: number;
      readonly eta: string | null;
      readonly expires: string | null;
    }
  | { readonly type: "task-started" | "task-cancelled"; readonly uuid: string }
  | { readonly type: "task-succeeded"; readonly uuid: string; readonly result: string; readonly runtimeMs: number }
  | {
      readonly type: "task-failed" | "task-retried";
      readonly uuid: string;
      readonly exception: string;
      readonly traceback?: string | undefined;
    }
  | {
      readonly type: "task-revoked";
      readonly uuid: string;
      readonly terminated: boolean;
      readonly signum: number | string | null;
      readonly expired: boolean;
    }
  | { readonly type: "task-rejected"; readonly uuid: string; readonly requeue: boolean }
  | {
      readonly type: "worker-online" | "worker-heartbeat" | "worker-offline";
      /** Between two heartbeats; a worker that was silent for twice as long counts as gone. */
      readonly freqMs: number;
      /** Left out in the answer to the `heartbeat` command. */
      readonly active?: number | undefined;
      readonly processed?: number | undefined;
      readonly loadavg?: readonly number[] | undefined;
      readonly swIdent: string;
      readonly swVer: string;
      readonly swSys: string;
    };

/** Fields of each type in Celery's order. A name that ends in `Ms` goes in seconds, without the ending. */
const FIELDS: Readonly<Record<CeleryEvent["type"], readonly string[]>> = {
  "task-sent": "uuid rootId parentId name args kwargs retries eta expires queue exchange routingKey".split(" "),
  "task-received": "uuid name args kwargs rootId parentId retries eta expires".split(" "),
  "task-started": ["uuid"],
  "task-succeeded": ["uuid", "result", "runtimeMs"],
  "task-failed": ["uuid", "exception", "traceback"],
  "task-retried": ["uuid", "exception", "traceback"],
  "task-revoked": ["uuid", "terminated", "signum", "expired"],
  "task-rejected": ["uuid", "requeue"],
  "task-cancelled": ["uuid"],
  "worker-online": "freqMs active processed loadavg swIdent swVer swSys".split(" "),
  "worker-heartbeat": "freqMs active processed loadavg swIdent swVer swSys".split(" "),
  "worker-offline": "freqMs active processed loadavg swIdent swVer swSys".split(" "),
};

interface WireField {
  readonly name: string;
  readonly wire: string;
  readonly isMs: boolean;
}

const WIRE_FIELDS: ReadonlyMap<string, readonly WireField[]> = new Map(
  Object.entries(FIELDS).map(([type, names]) => [type, names.map((name) => wireField(name))]),
);

function wireField(name: string): WireField {
  const isMs = name.endsWith("Ms");
  const wire = name.replace(/Ms$/, "").replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return { name, wire, isMs };
}

export interface EncodedEvent {
  readonly message: Message;
  readonly exchange: string;
  readonly routingKey: string;
}

export interface OriginatedEvent {
  readonly event: CeleryEvent;
  readonly origin: EventOrigin;
}

/** One event under its own routing key: `task.sent`. */
export function encodeEvent({ event, origin }: OriginatedEvent, options: { readonly serializer: SerializerName }): EncodedEvent {
  return encoded(wireEvent(event, origin), event.type.replaceAll("-", "."), origin.hostname, options.serializer);
}

/** Several of one group (`task`, `worker`) and one sender in one message, as Python workers send them: `task.multi`. */
export function encodeEvents(
  group: string,
  events: readonly [OriginatedEvent, ...OriginatedEvent[]],
  options: { readonly serializer: SerializerName },
): EncodedEvent {
  const list = events.map(({ event, origin }) => wireEvent(event, origin));
  return encoded(list, `${group}.multi`, events[0].origin.hostname, options.serializer);
}

function wireEvent(event: CeleryEvent, { hostname, utcOffset, pid, clock, at }: EventOrigin): Record<string, unknown> {
  const values = event as unknown as Readonly<Record<string, unknown>>; // read by the names of the table
  const wire: Record<string, unknown> = { hostname, utcoffset: utcOffset, pid, clock };
  for (const { name, wire: key, isMs } of WIRE_FIELDS.get(event.type) ?? []) {
    const value = values[name];
    if (value !== undefined) wire[key] = isMs ? (value as number) / 1000 : value;
  }
  wire.timestamp = at / 1000;
  wire.type = event.type;
  return wire;
}

function encoded(value: unknown, routingKey: string, hostname: string, serializer: SerializerName): EncodedEvent {
  const { body, contentType, contentEncoding } = encodeBody(value, { serializer });
  const properties = {
    correlationId: undefined,
    replyTo: undefined,
    deliveryMode: 1,
    priority: 0,
    expirationMs: undefined,
    others: {},
  } as const;
  return { message: { headers: { hostname }, properties, contentType, contentEncoding, body }, exchange: EVENT_EXCHANGE, routingKey };
}

// --- reading ---------------------------------------------------------------------------------------------------------

export interface ReceivedEvent {
  /** One of Celery's, or an application's own. */
  readonly type: string;
  readonly hostname: string;
  /** ms since 1970, by the sender's clock, not shifted. */
  readonly at: number;
  readonly utcOffset: number | undefined;
  readonly pid: number | undefined;
  readonly clock: number | undefined;
  /** By the names of `CeleryEvent`; those that it lacks, and those of an application's event, by their own. Unchecked. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** One event or a list of them. @throws ProtocolError */
export function decodeEvents(
  message: Message,
  options: { readonly accept: ReadonlySet<string>; readonly limits?: DecodeLimits },
): readonly ReceivedEvent[] {
  const body = decodeBody({ ...message, compression: message.headers.compression }, options);
  return (Array.isArray(body) ? body : [body]).map(readEvent);
}

function readEvent(value: unknown): ReceivedEvent {
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    throw new ProtocolError("malformed", "event", "not an object");
  const { type, hostname, timestamp, utcoffset, pid, clock, ...others } = value as Record<string, unknown>;
  if (typeof type !== "string") throw new ProtocolError("malformed", "event.type", "not text");
  if (typeof hostname !== "string") throw new ProtocolError("malformed", "event.hostname", "not text");
  if (typeof timestamp !== "number") throw new ProtocolError("malformed", "event.timestamp", "not a number");
  const fields: Record<string, unknown> = { ...others }; // not by assignment: one could be named __proto__
  for (const { name, wire, isMs } of WIRE_FIELDS.get(type) ?? []) {
    if (name === wire || !Object.hasOwn(fields, wire)) continue;
    fields[name] = isMs && typeof fields[wire] === "number" ? fields[wire] * 1000 : fields[wire];
    delete fields[wire];
  }
  return { type, hostname, at: timestamp * 1000, utcOffset: number(utcoffset), pid: number(pid), clock: number(clock), fields };
}

function number(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}
