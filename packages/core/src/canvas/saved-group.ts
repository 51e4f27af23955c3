/** A group as it is saved: `{"result": <result tuple>}` (celery-protocol 6.5). */
import type { DecodeLimits } from "../protocol/limits.ts";
import { decodeBody, encodeBody, serializerFor, type SerializerName } from "../protocol/serializers.ts";
import { ProtocolError } from "../protocol/errors.ts";
import { readResultTuple, type ResultTuple } from "./result-tuple.ts";
import { isMap } from "./signature-data.ts";

export function encodeGroup(tuple: ResultTuple, serializer: SerializerName): string | Uint8Array {
  const { body } = encodeBody({ result: tuple }, { serializer });
  return serializer === "json" ? Buffer.from(body).toString("utf8") : body;
}

/** @throws ProtocolError */
export function decodeGroup(
  text: string | Uint8Array,
  options: { readonly accept: ReadonlySet<string>; readonly serializer: SerializerName; readonly limits?: DecodeLimits },
): ResultTuple {
  const { contentType, contentEncoding } = serializerFor(options.serializer);
  const body = typeof text === "string" ? Buffer.from(text, "utf8") : text;
  const map = decodeBody({ body, contentType, contentEncoding }, options);
  if (!isMap(map)) throw new ProtocolError("malformed", "group", "not an object");
  return readResultTuple(map.result, "group.result");
}
