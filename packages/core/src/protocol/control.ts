/** Remote control: requests and replies of Celery's pidbox (celery-protocol 11). */
import { ProtocolError } from "./errors.ts";
import type { DecodeLimits } from "./limits.ts";
import type { Message } from "./message.ts";
import { decodeBody, encodeBody, type SerializerName } from "./serializers.ts";

export const CONTROL_EXCHANGE = "celery.pidbox";
export const REPLY_EXCHANGE = "reply.celery.pidbox";

export interface ControlRequest {
  readonly method: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  /** Node names; all when left out. */
  readonly destination?: readonly string[];
  readonly pattern?: string;
  readonly matcher?: "glob" | "pcre";
  /** With both of these an answer is wanted. */
  readonly ticket?: string;
  readonly replyTo?: { readonly exchange: string; readonly routingKey: string };
  /** Of a revoke: the broker remembers it and the results say it, so that who hears it need not see to that. Celery passes over it. */
  readonly isKept?: boolean;
}

/** Header of such a request. */
const KEPT_HEADER = "lovage_kept";

export function encodeControlRequest(
  request: ControlRequest,
  options: { readonly serializer: SerializerName; readonly clock?: number; readonly expiresAt?: number },
): Message {
  const { method, arguments: args, destination, pattern, matcher, ticket, replyTo } = request;
  const { body, contentType, contentEncoding } = encodeBody(
    {
      method,
      arguments: args,
      destination: destination ?? null,
      pattern: pattern ?? null,
      matcher: matcher ?? null,
      ...(ticket !== undefined && { ticket }),
      ...(replyTo && { reply_to: { exchange: replyTo.exchange, routing_key: replyTo.routingKey } }),
    },
    options,
  );
  return {
    headers: {
      clock: options.clock ?? 0,
      expires: options.expiresAt === undefined ? 0 : options.expiresAt / 1000,
      ...(request.isKept && { [KEPT_HEADER]: true }),
    },
    properties: { correlationId: undefined, replyTo: undefined, deliveryMode: 2, priority: 0, expirationMs: undefined, others: {} },
    contentType,
    contentEncoding,
    body,
  };
}

export interface ControlReply {
  /** Of the request. */
  readonly ticket: string;
  /** Node name of the worker that answers. */
  readonly node: string;
  readonly value: unknown;
}

/** Goes to `replyTo` of the request. @throws ProtocolError with the path to what cannot be written. */
export function encodeControlReply(
  { ticket, node, value }: ControlReply,
  options: { readonly serializer: SerializerName; readonly clock?: number },
): Message {
  const { body, contentType, contentEncoding } = encodeBody({ [node]: value ?? null }, options);
  return {
    headers: { ticket, clock: options.clock ?? 0 },
    properties: { correlationId: undefined, replyTo: undefined, deliveryMode: 1, priority: 0, expirationMs: undefined, others: {} },
    contentType,
    contentEncoding,
    body,
  };
}

// --- reading ---------------------------------------------------------------------------------------------------------

export interface ReceivedControlRequest extends ControlRequest {
  /** The sender's Lamport clock. */
  readonly clock: number | undefined;
  /** ms since 1970; undefined: never. Celery's own workers answer later requests too. */
  readonly expiresAt: number | undefined;
}

interface DecodeOptions {
  readonly accept: ReadonlySet<string>;
  readonly limits?: DecodeLimits;
}

/** @throws ProtocolError */
export function decodeControlRequest(message: Message, options: DecodeOptions): ReceivedControlRequest {
  const body = mapOf(decodeBody({ ...message, compression: message.headers.compression }, options), "control");
  const { method, arguments: args, destination, pattern, matcher, ticket, reply_to: replyTo } = body;
  if (typeof method !== "string") throw new ProtocolError("malformed", "control.method", "not text");
  const { clock, expires } = message.headers;
  return {
    method,
    arguments: args === undefined || args === null ? {} : mapOf(args, "control.arguments"),
    ...destinationOf(destination),
    ...(typeof pattern === "string" && { pattern }),
    ...((matcher === "glob" || matcher === "pcre") && { matcher }),
    ...(typeof ticket === "string" && { ticket }),
    ...(replyTo !== undefined && replyTo !== null && { replyTo: addressOf(mapOf(replyTo, "control.reply_to")) }),
    ...(message.headers[KEPT_HEADER] === true && { isKept: true }),
    clock: typeof clock === "number" ? clock : undefined,
    expiresAt: typeof expires === "number" && expires > 0 ? expires * 1000 : undefined,
  };
}

/** An empty list is everybody, as none is. */
function destinationOf(destination: unknown): { readonly destination?: readonly string[] } {
  if (destination === undefined || destination === null) return {};
  const names: unknown[] = typeof destination === "string" ? [destination] : Array.isArray(destination) ? destination : [undefined];
  if (!names.every((name): name is string => typeof name === "string"))
    throw new ProtocolError("malformed", "control.destination", "not a list of node names");
  return names.length === 0 ? {} : { destination: names };
}

function addressOf({ exchange, routing_key: routingKey }: Readonly<Record<string, unknown>>) {
  if (typeof exchange !== "string" || typeof routingKey !== "string")
    throw new ProtocolError("malformed", "control.reply_to", "not an exchange and a routing key");
  return { exchange, routingKey };
}

/** The replies in one message: one in practice. @throws ProtocolError */
export function decodeControlReply(message: Message, options: DecodeOptions): readonly ControlReply[] {
  const { ticket } = message.headers;
  if (typeof ticket !== "string") throw new ProtocolError("malformed", "headers.ticket", "not text");
  const body = mapOf(decodeBody({ ...message, compression: message.headers.compression }, options), "reply");
  return Object.entries(body).map(([node, value]) => ({ ticket, node, value }));
}

function mapOf(value: unknown, where: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    throw new ProtocolError("malformed", where, "not an object");
  return value as Record<string, unknown>;
}
