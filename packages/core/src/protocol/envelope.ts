/**
 * The envelope: a message as one JSON text, as kombu's virtual transports store it (celery-protocol 2).
 */
import { isUtf8 } from "node:buffer";
import { asBuffer } from "./bytes.ts";
import { ProtocolError } from "./errors.ts";
import { decodeJson, encodeJson, quote, quoteName } from "./json.ts";
import { DEFAULT_LIMITS, type DecodeLimits } from "./limits.ts";
import type { DeliveryInfo, Message, MessageProperties } from "./message.ts";
import { textOfHeaders } from "./outgoing-message.ts";

/** Hot path: pieces are joined, and headers that were written as text are not written again. */
export function encodeEnvelope(
  message: Message,
  to: { readonly exchange: string; readonly routingKey: string },
  deliveryTag: string,
): string {
  const { body, properties, contentType, contentEncoding } = message;
  const base64 = asBuffer(body).toString("base64");
  const others =
    Object.keys(properties.others).length === 0
      ? ""
      : `${encodeJson(properties.others, { where: "properties", nonFinite: "pass" }).slice(1, -1)}, `;
  // Joined at once: added up piece by piece it would be a tree of pieces, dear to collect while a batch gathers.
  return [
    `{"body": "`,
    base64,
    `", "content-encoding": ${quoteName(contentEncoding)}, "content-type": ${quoteName(contentType)}, "headers": `,
    textOfHeaders(message),
    `, "properties": {${others}`,
    properties.correlationId === undefined ? "" : `"correlation_id": ${quote(properties.correlationId)}, `,
    properties.replyTo === undefined ? "" : `"reply_to": ${quoteName(properties.replyTo)}, `,
    properties.expirationMs === undefined ? "" : `"expiration": "${properties.expirationMs}", `,
    `"delivery_mode": ${properties.deliveryMode}, "delivery_info": {"exchange": ${quoteName(to.exchange)}, "routing_key": ${quoteName(to.routingKey)}}, `,
    `"priority": ${properties.priority}, "body_encoding": "base64", "delivery_tag": ${quote(deliveryTag)}}}`,
  ].join("");
}

export interface DecodedEnvelope {
  readonly message: Message;
  readonly info: DeliveryInfo;
  readonly deliveryTag: string;
}

/** @throws ProtocolError, and nothing else, whatever it is given. */
export function decodeEnvelope(envelope: string | Uint8Array, limits: DecodeLimits = DEFAULT_LIMITS): DecodedEnvelope {
  const outer = map(decodeJson(envelopeText(envelope), limits, "envelope"), "envelope");
  const headers = map(outer.headers ?? {}, "envelope.headers");
  const properties = map(outer.properties, "envelope.properties");
  const info = map(properties.delivery_info ?? {}, "envelope.properties.delivery_info");
  const redelivered = info.redelivered === true || headers.redelivered === true;
  return {
    message: {
      headers,
      properties: readProperties(properties),
      contentType: string(outer["content-type"] ?? "application/json", "envelope.content-type"),
      contentEncoding: string(outer["content-encoding"] ?? "utf-8", "envelope.content-encoding"),
      body: readBody(outer.body, properties.body_encoding),
    },
    info: {
      exchange: string(info.exchange ?? "", "envelope.properties.delivery_info.exchange"),
      routingKey: string(info.routing_key ?? "", "envelope.properties.delivery_info.routing_key"),
      redelivered,
    },
    deliveryTag: string(properties.delivery_tag ?? "", "envelope.properties.delivery_tag"),
  };
}

/** @throws ProtocolError for bytes that are no UTF-8: what they mean would be lost when they are written again. */
export function envelopeText(envelope: string | Uint8Array): string {
  if (typeof envelope === "string") return envelope;
  if (!isUtf8(envelope)) throw new ProtocolError("malformed", "envelope", "not UTF-8");
  return asBuffer(envelope).toString("utf8");
}

function readProperties(properties: Readonly<Record<string, unknown>>): MessageProperties {
  const { priority, delivery_mode: mode, expiration } = properties;
  let others: Record<string, unknown> | undefined;
  for (const key in properties) if (!isKnown(key)) (others ??= {})[key] = properties[key];
  return {
    correlationId: optionalString(properties.correlation_id, "envelope.properties.correlation_id"),
    replyTo: optionalString(properties.reply_to, "envelope.properties.reply_to"),
    deliveryMode: mode === 1 ? 1 : 2,
    priority: typeof priority === "number" && Number.isInteger(priority) ? priority : 0,
    expirationMs: typeof expiration === "string" && /^\d+$/.test(expiration) ? Number(expiration) : undefined,
    others: others ?? NONE,
  };
}

const NONE: Readonly<Record<string, unknown>> = Object.freeze({});

function isKnown(property: string): boolean {
  switch (property) {
    case "correlation_id":
    case "reply_to":
    case "delivery_mode":
    case "priority":
    case "expiration":
    case "delivery_info":
    case "body_encoding":
    case "delivery_tag":
    case "__proto__": // assigning it would set the prototype
      return true;
    default:
      return false;
  }
}

function readBody(body: unknown, encoding: unknown): Uint8Array {
  const text = string(body, "envelope.body");
  if (encoding === "base64") return Buffer.from(text, "base64");
  if (encoding === undefined || encoding === null || encoding === "utf-8" || encoding === "utf8") return Buffer.from(text, "utf8");
  throw new ProtocolError("unsupported", "envelope.properties.body_encoding", "neither base64 nor utf-8");
}

function map(value: unknown, where: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    throw new ProtocolError("malformed", where, "not an object");
  return value as Record<string, unknown>;
}

function string(value: unknown, where: string): string {
  if (typeof value !== "string") throw new ProtocolError("malformed", where, "not text");
  return value;
}

function optionalString(value: unknown, where: string): string | undefined {
  return value === undefined || value === null ? undefined : string(value, where);
}

export { markRedelivered, setHeaders } from "./envelope-edit.ts";
