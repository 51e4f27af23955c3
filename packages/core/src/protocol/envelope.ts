/**
 * The envelope: a message as one JSON text, as kombu's virtual transports store it (celery-protocol 2).
 */
import { isUtf8 } from "node:buffer";
import { isEmpty } from "../shared/is-empty.ts";
import { asBuffer } from "./bytes.ts";
import { ProtocolError } from "./errors.ts";
import { decodeJson, encodeJson, quote } from "./json.ts";
import { DEFAULT_LIMITS, type DecodeLimits } from "./limits.ts";
import type { DeliveryInfo, Message, MessageProperties } from "./message.ts";
import { headerPiecesOf } from "./outgoing-message.ts";

/** What all messages that go one way in one form have in common: all but the body, the headers and two ids. */
interface Frame {
  readonly contentEncoding: string;
  readonly contentType: string;
  readonly replyTo: string | undefined;
  readonly deliveryMode: number;
  readonly priority: number;
  readonly exchange: string;
  readonly afterBody: string;
  readonly afterCorrelation: string;
}

/** The last of each routing key. */
const frames = new Map<string, Frame>();
const FRAMES_MAX = 1000;

/** Hot path: pieces are joined, and headers that were written before are not written again. */
export function encodeEnvelope(
  message: Message,
  to: { readonly exchange: string; readonly routingKey: string },
  deliveryTag: string,
): string {
  const { body, properties } = message;
  const frame = frameOf(message, to);
  // Joined at once: added up piece by piece it would be a tree of pieces, dear to collect while a batch gathers.
  return [
    `{"body": "`,
    asBuffer(body).toString("base64"),
    frame.afterBody,
    ...headerPiecesOf(message),
    `, "properties": {`,
    isEmpty(properties.others) ? "" : othersOf(properties.others),
    properties.correlationId === undefined ? "" : `"correlation_id": ${quote(properties.correlationId)}, `,
    properties.expirationMs === undefined ? frame.afterCorrelation : withExpiration(frame, properties.expirationMs),
    quote(deliveryTag),
    "}}",
  ].join("");
}

function frameOf(
  { properties, contentType, contentEncoding }: Message,
  { exchange, routingKey }: { readonly exchange: string; readonly routingKey: string },
): Frame {
  const { replyTo, deliveryMode, priority } = properties;
  const known = frames.get(routingKey);
  if (
    known !== undefined &&
    known.replyTo === replyTo &&
    known.priority === priority &&
    known.exchange === exchange &&
    known.deliveryMode === deliveryMode &&
    known.contentType === contentType &&
    known.contentEncoding === contentEncoding
  )
    return known;
  const frame = {
    contentEncoding,
    contentType,
    replyTo,
    deliveryMode,
    priority,
    exchange,
    afterBody: `", "content-encoding": ${quote(contentEncoding)}, "content-type": ${quote(contentType)}, "headers": `,
    afterCorrelation: `${replyTo === undefined ? "" : `"reply_to": ${quote(replyTo)}, `}"delivery_mode": ${deliveryMode}, "delivery_info": {"exchange": ${quote(exchange)}, "routing_key": ${quote(routingKey)}}, "priority": ${priority}, "body_encoding": "base64", "delivery_tag": `,
  };
  if (frames.size >= FRAMES_MAX) frames.clear();
  frames.set(routingKey, frame);
  return frame;
}

/** Before the delivery mode, where kombu has it. */
function withExpiration({ replyTo, afterCorrelation }: Frame, expirationMs: number): string {
  const at = replyTo === undefined ? 0 : `"reply_to": ${quote(replyTo)}, `.length;
  return `${afterCorrelation.slice(0, at)}"expiration": "${expirationMs}", ${afterCorrelation.slice(at)}`;
}

function othersOf(others: MessageProperties["others"]): string {
  return `${encodeJson(others, { where: "properties", nonFinite: "pass" }).slice(1, -1)}, `;
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
