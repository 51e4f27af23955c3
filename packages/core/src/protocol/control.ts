/** Remote control: requests and replies of Celery's pidbox (celery-protocol 11). */
import { encodeBody, type SerializerName } from "./serializers.ts";
import type { Message } from "./message.ts";

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
}

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
    headers: { clock: options.clock ?? 0, expires: options.expiresAt === undefined ? 0 : options.expiresAt / 1000 },
    properties: { correlationId: undefined, replyTo: undefined, deliveryMode: 2, priority: 0, expirationMs: undefined, others: {} },
    contentType,
    contentEncoding,
    body,
  };
}
