/// <reference types="node" preserve="true" />
/** `lovage/protocol`: Celery's wire as pure functions, and the values that JavaScript has no type of its own for. */
export { decodeEnvelope, encodeEnvelope, type DecodedEnvelope } from "./envelope.ts";
export { ProtocolError, type ProtocolProblem } from "./errors.ts";
export { fromWireException, toWireException, RemoteTaskError, type WireException } from "./exception.ts";
export { decodeJson, encodeJson } from "./json.ts";
export { Decimal, PlainDate, PlainTime, Uuid } from "./json-values.ts";
export { DEFAULT_LIMITS, type DecodeLimits } from "./limits.ts";
export type { DeliveryInfo, Message, MessageProperties, WireInstant } from "./message.ts";
export { decodeResult, encodeResult, type ResultDocument } from "./result.ts";
export { registerSerializer, type Serializer } from "./serializers.ts";
export type { SignatureData } from "./signature.ts";
export { encodeTaskMessage, readTaskMessage, type Embed, type OutgoingTask, type ReceivedTask } from "./task-message.ts";
