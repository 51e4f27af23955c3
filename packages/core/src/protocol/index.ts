/// <reference types="node" preserve="true" />
/** `lovage/protocol`: Celery's wire as pure functions, and the values that JavaScript has no type of its own for. */
export {
  CONTROL_EXCHANGE,
  REPLY_EXCHANGE,
  decodeControlReply,
  decodeControlRequest,
  encodeControlReply,
  encodeControlRequest,
  type ControlReply,
  type ControlRequest,
  type ReceivedControlRequest,
} from "./control.ts";
export { decodeEnvelope, encodeEnvelope, markRedelivered, setHeaders, type DecodedEnvelope } from "./envelope.ts";
export { ProtocolError, type ProtocolProblem } from "./errors.ts";
export {
  EVENT_EXCHANGE,
  decodeEvents,
  encodeEvent,
  encodeEvents,
  type CeleryEvent,
  type EncodedEvent,
  type EventOrigin,
  type OriginatedEvent,
  type ReceivedEvent,
} from "./event.ts";
export { fromWireException, toWireException, RemoteTaskError, type WireException } from "./exception.ts";
export { decodeJson, encodeJson } from "./json.ts";
export { formatInstant, parseInstant } from "./instant.ts";
export { Decimal, PlainDate, PlainTime, Uuid, WireDate } from "./json-values.ts";
export { DEFAULT_LIMITS, type DecodeLimits } from "./limits.ts";
export type { DeliveryInfo, Message, MessageProperties, WireInstant } from "./message.ts";
export { decodeResult, encodeResult, type ResultDocument } from "./result.ts";
export { contentTypesFor, decodeBody, encodeBody, registerSerializer, type Serializer } from "./serializers.ts";
export type { SignatureData } from "./signature.ts";
export { isReady, precedence } from "./states.ts";
export { encodeTaskMessage, readTaskMessage, retryMessage, type Embed, type OutgoingTask, type ReceivedTask } from "./task-message.ts";
