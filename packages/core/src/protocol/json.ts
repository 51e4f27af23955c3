/** JSON on the wire, both ways. */
export { decodeJson } from "./json-decode.ts";
export { encodeJson, quote, quoteName, type EncodeJsonOptions } from "./json-encode.ts";
