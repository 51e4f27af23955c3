/** A member's part of its group: `[1, "<task id>", "<STATE>", <encoded result>]` (celery-protocol 7.5). */
import { ProtocolError } from "../protocol/errors.ts";
import { ChordError } from "../protocol/celery-errors.ts";
import { readWireException, toWireException, wireDocument, type WireException } from "../protocol/exception.ts";
import { pythonRepr } from "../protocol/python-repr.ts";
import { encodeJson, quote } from "../protocol/json.ts";
import type { DecodeLimits } from "../protocol/limits.ts";
import { decodeBody, encodeBody, serializerFor, type SerializerName } from "../protocol/serializers.ts";
import { EXCEPTION_STATES } from "../protocol/states.ts";

export interface ChordPart {
  readonly taskId: string;
  readonly state: string;
  readonly result: unknown;
  readonly error: WireException | undefined;
}

/** @throws ProtocolError for a result that cannot be written */
export function encodePart({ taskId, state, result, error }: ChordPart, serializer: SerializerName): string | Uint8Array {
  const value = error === undefined ? (result ?? null) : wireDocument(error);
  if (serializer !== "json") return encodeBody([1, taskId, state, value], { serializer }).body;
  return `[1, ${quote(taskId)}, ${quote(state)}, ${encodeJson(value, { where: "result", undefinedProperties: "drop" })}]`;
}

/** @throws ProtocolError */
export function decodePart(
  part: string | Uint8Array,
  options: { readonly accept: ReadonlySet<string>; readonly serializer: SerializerName; readonly limits?: DecodeLimits },
): ChordPart {
  const { contentType, contentEncoding } = serializerFor(options.serializer);
  const body = typeof part === "string" ? Buffer.from(part, "utf8") : part;
  const list = decodeBody({ body, contentType, contentEncoding }, options);
  if (!Array.isArray(list) || typeof list[1] !== "string" || typeof list[2] !== "string")
    throw new ProtocolError("malformed", "part", "not a part of a group");
  const [, taskId, state, value] = list as [unknown, string, string, unknown];
  const failed = EXCEPTION_STATES.has(state);
  return { taskId, state, result: failed ? undefined : value, error: failed ? readWireException(value) : undefined };
}

/** What a chord's body fails with when this member of its header has failed. */
export function memberError(taskId: string, { type, args }: WireException): WireException {
  const raised = `${type}(${args.map((arg) => pythonRepr(arg)).join(", ")})`;
  return toWireException(new ChordError(`Dependency ${taskId} raised ${raised}`));
}
