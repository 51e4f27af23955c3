/** Other arguments for a message that is kept as an envelope; everything else of it stays as it was. */
import { asBuffer } from "./bytes.ts";
import { setMember } from "./envelope-edit.ts";
import { decodeEnvelope } from "./envelope.ts";
import { ProtocolError } from "./errors.ts";
import { argsRepr, kwargsRepr } from "./python-repr.ts";
import { quote } from "./json.ts";
import { decodeBody, encodeBody } from "./serializers.ts";

export interface TaskArguments {
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
}

/** In the serializer and compression that it had, of either protocol. @throws ProtocolError */
export function editArguments(envelope: string | Uint8Array, { args, kwargs }: TaskArguments): string {
  const { message } = decodeEnvelope(envelope);
  const { body, contentType, contentEncoding, headers } = message;
  const { compression } = headers;
  const value = decodeBody({ body, contentType, contentEncoding, compression }, { accept: new Set([contentType]) });
  const isList = Array.isArray(value);
  if (!isList && (typeof value !== "object" || value === null)) throw new ProtocolError("malformed", "body", "it holds no arguments");
  const edited = isList ? [args, kwargs, ...value.slice(2)] : { ...value, args, kwargs };
  const serializer = contentType.replace(/^application\/(x-)?/, "");
  const encoded = encodeBody(edited, { serializer, ...(typeof compression === "string" && { compression: compressionName(compression) }) });
  let text = typeof envelope === "string" ? envelope : asBuffer(envelope).toString("utf8");
  text = setMember(text, [], "body", quote(asBuffer(encoded.body).toString("base64")));
  text = setMember(text, ["properties"], "body_encoding", '"base64"');
  if ("argsrepr" in headers) text = setMember(text, ["headers"], "argsrepr", quote(argsRepr(args)));
  if ("kwargsrepr" in headers) text = setMember(text, ["headers"], "kwargsrepr", quote(kwargsRepr(kwargs)));
  return text;
}

const compressionName = (contentType: string): string => contentType.replace(/^application\/(x-)?/, "");
