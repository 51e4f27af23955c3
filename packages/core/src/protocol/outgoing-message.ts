/** A message whose headers were written as JSON text at once; the object is made only for those who ask (AMQP, tests). */
import { decodeJson, encodeJson } from "./json.ts";
import type { Message, MessageHeaders, MessageProperties } from "./message.ts";

export class OutgoingMessage implements Message {
  readonly headersText: string;
  readonly properties: MessageProperties;
  readonly contentType: string;
  readonly contentEncoding: string;
  readonly body: Uint8Array;
  #headers: MessageHeaders | undefined;

  constructor(headersText: string, properties: MessageProperties, contentType: string, contentEncoding: string, body: Uint8Array) {
    this.headersText = headersText;
    this.properties = properties;
    this.contentType = contentType;
    this.contentEncoding = contentEncoding;
    this.body = body;
  }

  get headers(): MessageHeaders {
    return (this.#headers ??= decodeJson(this.headersText) as MessageHeaders); // text of our own: an object
  }
}

export function textOfHeaders(message: Message): string {
  return message instanceof OutgoingMessage ? message.headersText : encodeJson(message.headers, { where: "headers", nonFinite: "pass" });
}
