/** A message whose headers were written as pieces of JSON at once; the object is made only for those who ask (AMQP, tests). */
import { decodeJson, encodeJson } from "./json.ts";
import type { Message, MessageHeaders, MessageProperties } from "./message.ts";

export class OutgoingMessage implements Message {
  /** Joined they are an object in JSON. */
  readonly headerPieces: readonly string[];
  readonly properties: MessageProperties;
  readonly contentType: string;
  readonly contentEncoding: string;
  readonly body: Uint8Array;
  #headers: MessageHeaders | undefined;

  constructor(
    headerPieces: readonly string[],
    properties: MessageProperties,
    contentType: string,
    contentEncoding: string,
    body: Uint8Array,
  ) {
    this.headerPieces = headerPieces;
    this.properties = properties;
    this.contentType = contentType;
    this.contentEncoding = contentEncoding;
    this.body = body;
  }

  get headers(): MessageHeaders {
    return (this.#headers ??= decodeJson(this.headerPieces.join("")) as MessageHeaders); // text of our own: an object
  }
}

/** Its headers in JSON, in pieces. */
export function headerPiecesOf(message: Message): readonly string[] {
  return message instanceof OutgoingMessage ? message.headerPieces : [encodeJson(message.headers, { where: "headers", nonFinite: "pass" })];
}
