/** Task messages as they come in: protocol 2, protocol 1, and the hybrid of both (celery-protocol 1.4). */
import { asBuffer } from "./bytes.ts";
import { ProtocolError } from "./errors.ts";
import { parseInstant } from "./instant.ts";
import type { DecodeLimits } from "./limits.ts";
import type { DeliveryInfo, Message, WireInstant } from "./message.ts";
import { argsRepr, kwargsRepr } from "./python-repr.ts";
import { decodeBody } from "./serializers.ts";
import type { SignatureData } from "./signature.ts";
import { PROTOCOL_HEADERS } from "./task-headers.ts";
import type { Embed } from "./task-message.ts";

const NONE: Readonly<Record<string, unknown>> = Object.freeze({});

export interface TaskBody {
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly embed: Embed;
}

export interface ReadTaskOptions {
  readonly accept: ReadonlySet<string>;
  readonly limits?: DecodeLimits;
}

/** A task message whose headers are read; its body is decoded on demand, once. */
export interface ReceivedTask {
  readonly protocol: 1 | 2;
  readonly message: Message;
  readonly info: DeliveryInfo;
  readonly id: string;
  readonly task: string;
  readonly shadow: string | undefined;
  readonly eta: WireInstant | undefined;
  readonly expires: WireInstant | undefined;
  readonly group: string | undefined;
  readonly groupIndex: number | undefined;
  readonly retries: number;
  readonly timeLimitMs: number | undefined;
  readonly softTimeLimitMs: number | undefined;
  readonly rootId: string | undefined;
  readonly parentId: string | undefined;
  readonly argsrepr: string | undefined;
  readonly kwargsrepr: string | undefined;
  readonly origin: string | undefined;
  /** null: the message leaves it to the task. */
  readonly ignoreResult: boolean | null;
  readonly replacedTaskNesting: number;
  readonly stampedHeaders: readonly string[] | undefined;
  readonly stamps: Readonly<Record<string, unknown>>;
  /** The user's headers, and those that we do not know. */
  readonly headers: Readonly<Record<string, unknown>>;
  /** @throws ProtocolError */
  body(): TaskBody;
}

/**
 * Reads the headers; the body stays closed until it is asked for, so that of a task whose arguments cannot be read there
 * is still an id to fail under. Hot path. @throws ProtocolError
 */
export function readTaskMessage(message: Message, info: DeliveryInfo, options: ReadTaskOptions): ReceivedTask {
  const { headers } = message;
  if (headers.task !== undefined) {
    const hybrid = isPlainJsonMap(message) ? hybridBody(message, options) : undefined;
    if (hybrid === undefined) return new TaskView(message, info, headers, options, 2);
    return new TaskView(message, info, { ...hybrid, ...headers }, options, 2, bodyOfProtocol1(hybrid));
  }
  const body = decodeWhole(message, options);
  if (!isMap(body) || typeof body.task !== "string")
    throw new ProtocolError("malformed", "message", "it is no task message: neither its headers nor its body name a task");
  return new TaskView(message, info, fieldsOfProtocol1(body), options, 1, bodyOfProtocol1(body));
}

function hybridBody(message: Message, options: ReadTaskOptions): Readonly<Record<string, unknown>> | undefined {
  try {
    const body = decodeWhole(message, options);
    return isMap(body) && "args" in body ? body : undefined;
  } catch (error) {
    if (error instanceof ProtocolError) return undefined; // thrown again by `body()`
    throw error;
  }
}

const OPEN_MAP = 0x7b;
const SPACE = 0x20;

/** The hybrid's fields are in its body; the first byte tells. Compressed or in another serializer nobody ever wrote one. */
function isPlainJsonMap({ body, contentType, headers }: Message): boolean {
  if (contentType !== "application/json" || headers.compression !== undefined) return false;
  const first = body[0] ?? 0;
  return first === OPEN_MAP || (first <= SPACE && asBuffer(body).toString("latin1").trimStart().startsWith("{"));
}

class TaskView implements ReceivedTask {
  readonly protocol: 1 | 2;
  readonly message: Message;
  readonly info: DeliveryInfo;
  readonly id: string;
  readonly task: string;
  readonly eta: WireInstant | undefined;
  readonly expires: WireInstant | undefined;
  readonly retries: number;
  readonly timeLimitMs: number | undefined;
  readonly softTimeLimitMs: number | undefined;
  readonly #fields: Readonly<Record<string, unknown>>;
  readonly #options: ReadTaskOptions;
  #body: TaskBody | undefined;

  constructor(
    message: Message,
    info: DeliveryInfo,
    fields: Readonly<Record<string, unknown>>,
    options: ReadTaskOptions,
    protocol: 1 | 2,
    body?: TaskBody,
  ) {
    this.message = message;
    this.info = info;
    this.protocol = protocol;
    this.#fields = fields;
    this.#options = options;
    this.#body = body;
    this.task = requiredText(fields, "task");
    this.id = requiredText(fields, "id");
    this.eta = instant(fields, "eta");
    this.expires = instant(fields, "expires");
    this.retries = count(fields, "retries");
    const limits = fields.timelimit;
    if (limits !== undefined && limits !== null) {
      if (!Array.isArray(limits)) throw new ProtocolError("malformed", "headers.timelimit", "not a list");
      this.timeLimitMs = seconds(limits[0]);
      this.softTimeLimitMs = seconds(limits[1]);
    }
  }

  get shadow(): string | undefined {
    return optionalText(this.#fields, "shadow") || undefined;
  }
  get group(): string | undefined {
    return optionalText(this.#fields, "group");
  }
  get groupIndex(): number | undefined {
    const index = this.#fields.group_index;
    return typeof index === "number" ? index : undefined;
  }
  get rootId(): string | undefined {
    return optionalText(this.#fields, "root_id");
  }
  get parentId(): string | undefined {
    return optionalText(this.#fields, "parent_id");
  }
  /** Protocol 1 has none: made from the arguments, as a Python worker does. */
  get argsrepr(): string | undefined {
    return optionalText(this.#fields, "argsrepr") ?? (this.protocol === 1 ? argsRepr(this.body().args) : undefined);
  }
  get kwargsrepr(): string | undefined {
    return optionalText(this.#fields, "kwargsrepr") ?? (this.protocol === 1 ? kwargsRepr(this.body().kwargs) : undefined);
  }
  get origin(): string | undefined {
    return optionalText(this.#fields, "origin");
  }
  get ignoreResult(): boolean | null {
    const ignore = this.#fields.ignore_result;
    return typeof ignore === "boolean" ? ignore : null;
  }
  get replacedTaskNesting(): number {
    const nesting = this.#fields.replaced_task_nesting;
    return typeof nesting === "number" ? nesting : 0;
  }
  get stampedHeaders(): readonly string[] | undefined {
    const names = this.#fields.stamped_headers;
    return Array.isArray(names) ? names.map(String) : undefined;
  }
  get stamps(): Readonly<Record<string, unknown>> {
    return isMap(this.#fields.stamps) ? this.#fields.stamps : NONE;
  }
  get headers(): Readonly<Record<string, unknown>> {
    return userHeaders(this.message.headers);
  }

  body(): TaskBody {
    return (this.#body ??= readBody(decodeWhole(this.message, this.#options)));
  }
}

function decodeWhole(message: Message, options: ReadTaskOptions): unknown {
  const { body, contentType, contentEncoding, headers } = message;
  return decodeBody({ body, contentType, contentEncoding, compression: headers.compression }, options);
}

function userHeaders(headers: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  let found: Record<string, unknown> | undefined;
  for (const name in headers) {
    const isUsers = !PROTOCOL_HEADERS.has(name) && name !== "redelivered" && name !== "__proto__"; // assigning it would set the prototype
    if (isUsers) (found ??= {})[name] = headers[name];
  }
  return found ?? NONE;
}

function readBody(body: unknown): TaskBody {
  if (isMap(body) && "args" in body) return bodyOfProtocol1(body); // a hybrid that is no plain JSON
  if (!Array.isArray(body) || body.length !== 3)
    throw new ProtocolError("malformed", "body", "not a list of arguments, keyword arguments and embedded signatures");
  const [args, kwargs, embed] = body as [unknown, unknown, unknown];
  return { args: list(args, "body[0]"), kwargs: kwargsOf(kwargs, "body[1]"), embed: readEmbed(embed) };
}

function readEmbed(embed: unknown): Embed {
  if (embed === null || embed === undefined) return { callbacks: null, errbacks: null, chain: null, chord: null };
  if (!isMap(embed)) throw new ProtocolError("malformed", "body[2]", "not an object");
  return {
    callbacks: signatures(embed, "callbacks"),
    errbacks: signatures(embed, "errbacks"),
    chain: signatures(embed, "chain"),
    chord: isMap(embed.chord) ? (embed.chord as unknown as SignatureData) : null,
  };
}

function signatures(embed: Readonly<Record<string, unknown>>, name: string): readonly SignatureData[] | null {
  const value = embed[name];
  if (value === undefined || value === null) return null;
  if (!Array.isArray(value) || !value.every(isMap)) throw new ProtocolError("malformed", `body[2].${name}`, "not a list of signatures");
  return value as unknown as readonly SignatureData[];
}

function bodyOfProtocol1(body: Readonly<Record<string, unknown>>): TaskBody {
  return {
    args: list(body.args ?? [], "body.args"),
    kwargs: kwargsOf(body.kwargs ?? {}, "body.kwargs"),
    embed: readEmbed({ callbacks: body.callbacks, errbacks: body.errbacks, chain: body.chain, chord: body.chord }),
  };
}

function fieldsOfProtocol1(body: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return { ...body, group: body.group ?? body.taskset };
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype; // a date or bytes are none
}

function list(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new ProtocolError("malformed", where, "not a list");
  return value;
}

function kwargsOf(value: unknown, where: string): Readonly<Record<string, unknown>> {
  if (!isMap(value)) throw new ProtocolError("malformed", where, "not an object");
  return value;
}

function requiredText(fields: Readonly<Record<string, unknown>>, name: string): string {
  const value = fields[name];
  if (typeof value !== "string" || value === "") throw new ProtocolError("malformed", `headers.${name}`, "not text");
  return value;
}

function optionalText(fields: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = fields[name];
  return typeof value === "string" ? value : undefined;
}

function count(fields: Readonly<Record<string, unknown>>, name: string): number {
  const value = fields[name];
  if (value === undefined || value === null) return 0;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0)
    throw new ProtocolError("malformed", `headers.${name}`, "not a count");
  return value;
}

function seconds(value: unknown): number | undefined {
  if (value === null || value === undefined) return undefined;
  if (typeof value !== "number" || !(value >= 0 && value < Infinity))
    throw new ProtocolError("malformed", "headers.timelimit", "not seconds");
  return value * 1000;
}

function instant(fields: Readonly<Record<string, unknown>>, name: string): WireInstant | undefined {
  const value = fields[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") throw new ProtocolError("malformed", `headers.${name}`, "not a date and time");
  return parseInstant(value, `headers.${name}`);
}
