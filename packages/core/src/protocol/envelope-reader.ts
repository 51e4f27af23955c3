/**
 * Reads envelopes faster than by parsing each: those of one task from one kind of producer differ in a few texts only, so that the
 * last one says what all else means. A form is that: the text between the places, compared with what comes, and the texts in them taken
 * out. What does not fit to the letter is parsed, so that the answer is `decodeEnvelope`'s in any case.
 *
 * Why it is exact: a form has no backslash and nothing but printable ASCII, and nor may what stands in a place. A text between two
 * quotes is then one JSON string and means itself, and the rest is what was parsed before.
 */
import { isDeepStrictEqual } from "node:util";

import { asBuffer } from "./bytes.ts";
import { decodeEnvelope, type DecodedEnvelope } from "./envelope.ts";
import type { MessageHeaders } from "./message.ts";

/** Longer ones are dear in any case, and a piece of a text keeps all of it in memory. */
const LONGEST = 4096;
/** Names of tasks whose form is remembered. */
const FORMS_MAX = 256;
/** After a look for a form, so many more that do not fit are only parsed: looking costs several times that. */
const PATIENCE = 32;
const BODY = '{"body": "';
const TASK = '"task": "';
const QUOTE = 0x22;
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** A name that is not followed by a colon and one space: members could not be found by their names. */
const UNEVEN = /":(?! \S)|"\s+:/;

/** Headers that differ between calls of a task or between its producers. */
const HEADERS = ["id", "root_id", "parent_id", "argsrepr", "kwargsrepr", "origin", "eta", "expires", "group"] as const;
const PROPERTIES = ["correlation_id", "reply_to", "delivery_tag"] as const;
type PlaceName = (typeof HEADERS)[number] | (typeof PROPERTIES)[number];

interface Known {
  /** Undefined until one lends itself to it. */
  form: Form | undefined;
  /** How many more that do not fit are only parsed. */
  patience: number;
}

export class EnvelopeReader {
  readonly #tasks = new Map<string, Known>();
  #last: Form | undefined;

  /** As `decodeEnvelope` does, but that what is the same in many is frozen and shared. @throws ProtocolError */
  read(envelope: string | Uint8Array): DecodedEnvelope {
    if (envelope.length > LONGEST) return decodeEnvelope(envelope);
    const raw = typeof envelope === "string" ? undefined : asBuffer(envelope);
    const text = raw ? raw.toString("latin1") : (envelope as string); // what is not ASCII fits nowhere
    const last = this.#last?.read(text, raw);
    if (last) return last;
    const task = taskIn(text);
    if (task === undefined) return decodeEnvelope(envelope);
    const known = this.#tasks.get(task) ?? this.#add(task);
    const { form } = known;
    const found = form === this.#last ? undefined : form?.read(text, raw);
    if (found) {
      this.#last = form;
      return found;
    }
    const decoded = decodeEnvelope(envelope);
    if (known.patience-- > 0) return decoded;
    known.patience = PATIENCE;
    known.form = Form.of(text, decoded) ?? form; // one that lends itself to none says nothing against the others
    this.#last = known.form;
    return decoded;
  }

  #add(task: string): Known {
    if (this.#tasks.size >= FORMS_MAX) this.#tasks.clear();
    const known = { form: undefined, patience: 0 };
    this.#tasks.set(copied(task), known);
    return known;
  }
}

/** Of the first member of that name after the body, without knowing what it is: it only says which form to try. */
function taskIn(text: string): string | undefined {
  if (!text.startsWith(BODY)) return undefined;
  const at = text.indexOf(TASK, text.indexOf('"', BODY.length));
  if (at < 0) return undefined;
  const from = at + TASK.length;
  return text.slice(from, text.indexOf('"', from));
}

interface Place {
  readonly name: PlaceName;
  readonly isHeader: boolean;
  /** What follows it, up to the next. */
  readonly after: string;
  /** What stands there in the message that the form was made of. */
  readonly first: string;
  /** What stood there last: many say the same again. */
  last: string;
  /** That and what follows it, once it was said again. */
  again: string | undefined;
}

class Form {
  /** What stands between the body and the first place. */
  readonly #afterBody: string;
  readonly #places: readonly Place[];
  readonly #like: DecodedEnvelope;

  private constructor(afterBody: string, places: readonly Place[], like: DecodedEnvelope) {
    this.#afterBody = afterBody;
    this.#places = places;
    this.#like = like;
  }

  /** Undefined for what does not lend itself to it. */
  static of(text: string, decoded: DecodedEnvelope): Form | undefined {
    const { headers, properties } = decoded.message;
    if (!/^[\x20-\x5b\x5d-\x7e]*$/.test(text) || UNEVEN.test(text) || typeof headers.id !== "string") return undefined;
    if (!text.includes('"body_encoding": "base64"') || Object.keys(properties.others).length > 0 || !areShareable(headers))
      return undefined;
    const found = [
      ...HEADERS.map((name) => ({ name, isHeader: true, value: Object.hasOwn(headers, name) ? headers[name] : undefined })),
      { name: "correlation_id" as const, isHeader: false, value: properties.correlationId },
      { name: "reply_to" as const, isHeader: false, value: properties.replyTo },
      { name: "delivery_tag" as const, isHeader: false, value: decoded.deliveryTag },
    ].flatMap(({ name, isHeader, value }) => {
      const start = onlyPlaceOf(name, text);
      return typeof value === "string" && start !== undefined ? [{ name, isHeader, value, start, end: start + value.length }] : [];
    });
    found.sort((one, other) => one.start - other.start);
    if (found[0]?.name !== "id") return undefined;
    const places = found.map(({ name, isHeader, value, end }, i): Place => {
      return { name, isHeader, after: text.slice(end, found[i + 1]?.start), first: value, last: value, again: undefined };
    });
    const form = new Form(text.slice(text.indexOf('"', BODY.length), found[0].start), places, sharing(decoded));
    return isDeepStrictEqual(form.read(text), decoded) ? form : undefined;
  }

  /** Undefined when it does not fit. Hot path: pieces are compared as they are cut, which is several times cheaper than to search. */
  read(text: string, raw?: Buffer): DecodedEnvelope | undefined {
    const { message: like, info } = this.#like;
    const bodyEnd = text.indexOf('"', BODY.length);
    let at = bodyEnd + this.#afterBody.length;
    if (!text.startsWith(BODY) || text.slice(bodyEnd, at) !== this.#afterBody) return undefined;
    const headers: Record<string, unknown> = { ...like.headers };
    let { correlationId, replyTo } = like.properties;
    let { deliveryTag } = this.#like;
    let id = "";
    for (const place of this.#places) {
      const { name, after, again } = place;
      let value: string;
      if (again !== undefined && text.slice(at, at + again.length) === again) {
        value = place.last;
        at += again.length;
      } else {
        const cut = this.#cut(place, text, at, id, raw);
        if (cut === undefined) return undefined;
        value = cut;
        at += value.length;
        if (text.slice(at, at + after.length) !== after) return undefined;
        at += after.length;
      }
      if (place.isHeader) {
        if (name === "id") headers.id = id = value;
        else if (name === "root_id") headers.root_id = value;
        else if (value !== place.first) headers[name] = value; // a store under a name that changes from place to place is a slow one
      } else if (name === "correlation_id") correlationId = value;
      else if (name === "reply_to") replyTo = value;
      else deliveryTag = value;
    }
    if (at !== text.length) return undefined;
    const body = Buffer.from(text.slice(BODY.length, bodyEnd), "base64");
    if (!isWhole(body, text, bodyEnd)) return undefined;
    const { contentType, contentEncoding, properties } = like;
    const { deliveryMode, priority, expirationMs, others } = properties;
    return {
      message: {
        headers,
        properties: { correlationId, replyTo, deliveryMode, priority, expirationMs, others },
        contentType,
        contentEncoding,
        body,
      },
      info,
      deliveryTag,
    };
  }

  /** What stands in a place. Undefined for what could mean something else than it says. */
  #cut(place: Place, text: string, at: number, id: string, raw: Buffer | undefined): string | undefined {
    if (isAt(text, at, id)) return id;
    if (isAt(text, at, place.last)) {
      place.again = place.last + place.after;
      return place.last;
    }
    const end = text.indexOf('"', at);
    if (end < 0) return undefined;
    const value = raw ? raw.toString("latin1", at, end) : copied(text.slice(at, end));
    if (!PLAIN.test(value)) return undefined;
    place.last = value;
    place.again = undefined;
    return value;
  }
}

/** Of its own: a piece of a text keeps all of it in memory, for as long as somebody keeps the piece. */
const copied = (piece: string): string => Buffer.from(piece, "utf8").toString("utf8");

/** Where the value of the member with this name begins, if there is one such member, at any depth, and it is text. */
function onlyPlaceOf(name: PlaceName, text: string): number | undefined {
  const member = `"${name}": "`;
  const at = text.indexOf(member);
  return at < 0 || at !== text.lastIndexOf(member) ? undefined : at + member.length;
}

function isAt(text: string, at: number, value: string): boolean {
  const end = at + value.length;
  return text.charCodeAt(end) === QUOTE && text.slice(at, end) === value;
}

/** Decoding passes over what is no base64, and over what follows its end. */
function isWhole(body: Buffer, text: string, end: number): boolean {
  const length = end - BODY.length;
  const padding = length === 0 || text[end - 1] !== "=" ? 0 : text[end - 2] === "=" ? 2 : 1;
  return length % 4 === 0 && body.length === (length / 4) * 3 - padding;
}

/** Nobody can change one message by what he got from another: what is nested is empty, or ours and frozen. */
function areShareable(headers: MessageHeaders): boolean {
  return (
    !Object.hasOwn(headers, "__proto__") &&
    Object.entries(headers).every(([name, value]) => typeof value !== "object" || value === null || isFreezable(name, value))
  );
}

/** A date can be changed although it is frozen. */
function isFreezable(name: string, value: object): boolean {
  if (Array.isArray(value))
    return value.length === 0 || (name === "timelimit" && value.every((part) => typeof part !== "object" || part === null));
  return Object.getPrototypeOf(value) === Object.prototype && Object.keys(value).length === 0;
}

function sharing(decoded: DecodedEnvelope): DecodedEnvelope {
  for (const value of Object.values(decoded.message.headers)) if (typeof value === "object" && value !== null) Object.freeze(value);
  return { ...decoded, info: Object.freeze({ ...decoded.info }) };
}
