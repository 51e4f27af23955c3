/** How values become bodies of messages and results: kombu's serializers, by name and by content type. */
import { isAscii } from "node:buffer";
import { asBuffer } from "./bytes.ts";
import { compress, decompress } from "./compression.ts";
import { ProtocolError } from "./errors.ts";
import { encodeJson } from "./json.ts";
import { decodeJsonBody } from "./json-body.ts";
import { DEFAULT_LIMITS, type DecodeLimits } from "./limits.ts";
import { decodeMsgpack, encodeMsgpack } from "./msgpack.ts";
import { decodeYaml, encodeYaml } from "./yaml.ts";

export type SerializerName = string;

export interface Serializer {
  readonly name: SerializerName;
  readonly contentType: string;
  readonly contentEncoding: string;
  encode(value: unknown, options: { readonly typed: boolean }): Uint8Array | string;
  decode(data: Uint8Array, limits: DecodeLimits): unknown;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });
/** Nearly all bodies are ASCII, which needs no decoder. */
const text = (data: Uint8Array): string => (isAscii(data) ? asBuffer(data).toString("latin1") : utf8.decode(data));

const byName = new Map<string, Serializer>();
const byContentType = new Map<string, Serializer>();

export function registerSerializer(serializer: Serializer): void {
  byName.set(serializer.name, serializer);
  byContentType.set(serializer.contentType, serializer);
}

registerSerializer({
  name: "json",
  contentType: "application/json",
  contentEncoding: "utf-8",
  encode: (value, { typed }) => encodeJson(value, { typed }),
  decode: (data, limits) => decodeJsonBody(text(data), limits),
});
registerSerializer({
  name: "yaml",
  contentType: "application/x-yaml",
  contentEncoding: "utf-8",
  encode: encodeYaml,
  decode: (data, limits) => decodeYaml(text(data), limits),
});
registerSerializer({
  name: "msgpack",
  contentType: "application/x-msgpack",
  contentEncoding: "binary",
  encode: encodeMsgpack,
  decode: decodeMsgpack,
});

/** Known, and refused whatever is accepted: reading it would run code. */
const PICKLE = new Set(["pickle", "application/x-python-serialize"]);

export function serializerFor(name: SerializerName): Serializer {
  const found = byName.get(name);
  if (found) return found;
  if (PICKLE.has(name))
    throw new ProtocolError("unsupported", "serializer", "pickle is not supported: it runs code when it is read; use json");
  throw new ProtocolError("unsupported", "serializer", `${JSON.stringify(name)} is not known; known are ${[...byName.keys()].join(", ")}`);
}

/** Content types for names and content types alike. */
export function contentTypesFor(accept: readonly string[]): ReadonlySet<string> {
  return new Set(accept.map((name) => byName.get(name)?.contentType ?? name));
}

export interface EncodedBody {
  readonly body: Uint8Array;
  readonly contentType: string;
  readonly contentEncoding: string;
  /** For the `compression` header. */
  readonly compression: string | undefined;
}

export interface EncodeBodyOptions {
  readonly serializer: SerializerName;
  readonly compression?: string | undefined;
  readonly typed?: boolean;
}

export function encodeBody(value: unknown, options: EncodeBodyOptions): EncodedBody {
  const serializer = serializerFor(options.serializer);
  const { contentType, contentEncoding } = serializer;
  const encoded = encodeWith(serializer, value, options.typed !== false);
  const data = typeof encoded === "string" ? Buffer.from(encoded, "utf8") : encoded;
  if (!options.compression) return { body: data, contentType, contentEncoding, compression: undefined };
  const compressed = compress(data, options.compression);
  return { body: compressed.data, contentType, contentEncoding, compression: compressed.contentType };
}

function encodeWith(serializer: Serializer, value: unknown, typed: boolean): Uint8Array | string {
  try {
    return serializer.encode(value, { typed });
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    throw new ProtocolError("unsupported", "body", `${serializer.name} could not write it: see the cause`, { cause: error });
  }
}

export interface BodyPart {
  readonly body: Uint8Array;
  readonly contentType: string;
  readonly contentEncoding: string;
  readonly compression?: unknown;
}

export interface DecodeBodyOptions {
  readonly accept: ReadonlySet<string>;
  readonly limits?: DecodeLimits;
}

/** @throws ProtocolError */
export function decodeBody(part: BodyPart, options: DecodeBodyOptions): unknown {
  const limits = options.limits ?? DEFAULT_LIMITS;
  checkAccepted(part.contentType, options.accept);
  const data =
    part.compression === undefined || part.compression === null ? part.body : decompress(part.body, part.compression, limits.maxBytes);
  if (data.byteLength > limits.maxBytes)
    throw new ProtocolError("tooLarge", "body", `${data.byteLength} bytes, more than the ${limits.maxBytes} accepted`);
  return decodeAs(part.contentType, data, limits);
}

function decodeAs(contentType: string, data: Uint8Array, limits: DecodeLimits): unknown {
  const serializer = byContentType.get(contentType);
  if (!serializer)
    throw new ProtocolError("unsupported", "content-type", `no serializer reads ${JSON.stringify(contentType.slice(0, 80))}`);
  try {
    return serializer.decode(data, limits);
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    throw new ProtocolError("malformed", "body", `not ${contentType}`, { cause: error });
  }
}

function checkAccepted(contentType: string, accept: ReadonlySet<string>): void {
  if (PICKLE.has(contentType))
    throw new ProtocolError("contentDisallowed", "content-type", "pickle is never read: it runs code; have the producer use json");
  if (!accept.has(contentType))
    throw new ProtocolError("contentDisallowed", "content-type", `${JSON.stringify(contentType.slice(0, 80))} is not in acceptContent`);
}
