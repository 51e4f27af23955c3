import { asBuffer } from "./bytes.ts";
import { decodeEnvelope, encodeEnvelope, envelopeText } from "./envelope.ts";
import { markRedelivered, setHeaders } from "./envelope-edit.ts";
import { encodeJson } from "./json.ts";
import type { Message } from "./message.ts";

/**
 * The envelope with another message in it: its address, its delivery tag and its mark stay. Where only headers were
 * added or changed, as is usual, every other byte stays too. @throws ProtocolError when it is no envelope.
 */
export function replaceMessage(envelope: string | Uint8Array, message: Message): string {
  const { message: before, info, deliveryTag } = decodeEnvelope(envelope);
  const headers = changedHeaders(before, message);
  if (headers !== undefined) return setHeaders(envelopeText(envelope), headers);
  const text = encodeEnvelope(message, info, deliveryTag);
  return info.redelivered ? markRedelivered(text) : text;
}

/** undefined when more than that has changed. */
function changedHeaders(before: Message, after: Message): Record<string, unknown> | undefined {
  const isSame =
    before.contentType === after.contentType &&
    before.contentEncoding === after.contentEncoding &&
    asBuffer(before.body).equals(after.body) &&
    written(before.properties) === written(after.properties) &&
    Object.keys(before.headers).every((name) => name in after.headers);
  if (!isSame) return undefined;
  const isChanged = ([name, value]: [string, unknown]): boolean =>
    !Object.hasOwn(before.headers, name) || written(before.headers[name]) !== written(value);
  return Object.fromEntries(Object.entries(after.headers).filter(isChanged));
}

function written(value: unknown): string {
  return encodeJson(value, { undefinedProperties: "drop", nonFinite: "pass" });
}
