/**
 * Task messages: protocol 2 both ways, protocol 1 and its hybrid inwards, and the message of a retry
 * (celery-protocol 1 and 7.7).
 */
import { ProtocolError } from "./errors.ts";
import { formatInstant, parseInstant } from "./instant.ts";
import { encodeJson, quote } from "./json.ts";
import type { DecodeLimits } from "./limits.ts";
import type { DeliveryInfo, Message, WireInstant } from "./message.ts";
import { OutgoingMessage } from "./outgoing-message.ts";
import { argsRepr, kwargsRepr } from "./python-repr.ts";
import { decodeBody, encodeBody, type SerializerName } from "./serializers.ts";
import type { SignatureData } from "./signature.ts";

export interface Embed {
  readonly callbacks: readonly SignatureData[] | null;
  readonly errbacks: readonly SignatureData[] | null;
  /** The steps that remain, the next one last. */
  readonly chain: readonly SignatureData[] | null;
  readonly chord: SignatureData | null;
}

export interface OutgoingTask {
  readonly id: string;
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly embed?: Partial<Embed>;
  readonly shadow?: string | undefined;
  /** ms since 1970. */
  readonly etaAt?: number | undefined;
  readonly expiresAt?: number | undefined;
  /** Verbatim; win over `etaAt` and `expiresAt`. */
  readonly eta?: WireInstant | undefined;
  readonly expires?: WireInstant | undefined;
  readonly group?: string | undefined;
  readonly groupIndex?: number | undefined;
  readonly retries?: number;
  readonly timeLimitMs?: number | undefined;
  readonly softTimeLimitMs?: number | undefined;
  readonly rootId?: string | undefined;
  readonly parentId?: string | undefined;
  readonly argsrepr?: string | undefined;
  readonly kwargsrepr?: string | undefined;
  readonly origin?: string | undefined;
  readonly ignoreResult?: boolean | null | undefined;
  readonly replacedTaskNesting?: number;
  readonly stampedHeaders?: readonly string[] | undefined;
  readonly stamps?: Readonly<Record<string, unknown>> | undefined;
  /** The user's own, merged flat among ours; ours win. */
  readonly headers?: Readonly<Record<string, unknown>> | undefined;
  readonly replyTo?: string | undefined;
  readonly correlationId?: string | undefined;
  readonly priority?: number | undefined;
  readonly deliveryMode?: 1 | 2;
  readonly periodicTaskName?: string | undefined;
}

export interface MessageCodec {
  readonly serializer: SerializerName;
  readonly compression?: string | undefined;
  /** Dates, bytes and the like as kombu 5.3 and later know them. Default true. */
  readonly typed?: boolean;
}

export interface EncodeTaskOptions extends MessageCodec {
  /** ms since 1970: what `expiration` counts from. */
  readonly now: number;
  readonly argsreprMax?: number;
}

const EMPTY_EMBED = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}';

/** Hot path. @throws ProtocolError with the path to an argument that cannot be written. */
export function encodeTaskMessage(task: OutgoingTask, options: EncodeTaskOptions): Message {
  const { body, contentType, contentEncoding, compression } = encodeTaskBody(task, options);
  const expires = task.expires ?? (task.expiresAt === undefined ? undefined : formatInstant(task.expiresAt));
  return new OutgoingMessage(
    headersOf(task, compression, expires, options.argsreprMax),
    {
      correlationId: task.correlationId ?? task.id,
      replyTo: task.replyTo ?? "",
      deliveryMode: task.deliveryMode ?? 2,
      priority: task.priority ?? 0,
      expirationMs: expires === undefined ? undefined : Math.max(0, expires.at - options.now),
      others: NONE,
    },
    contentType,
    contentEncoding,
    body,
  );
}

const NONE: Readonly<Record<string, unknown>> = Object.freeze({});

function encodeTaskBody(task: Pick<OutgoingTask, "args" | "kwargs" | "embed">, codec: MessageCodec) {
  const { args, kwargs, embed } = task;
  if (codec.serializer !== "json" || codec.compression) {
    return encodeBody([args, kwargs, { callbacks: null, errbacks: null, chain: null, chord: null, ...embed }], codec);
  }
  const typed = codec.typed !== false;
  const tail =
    embed === undefined
      ? EMPTY_EMBED
      : encodeJson({ callbacks: null, errbacks: null, chain: null, chord: null, ...embed }, { typed, where: "embed" });
  const text = `[${encodeJson(args, { typed, where: "args" })}, ${encodeJson(kwargs, { typed, where: "kwargs" })}, ${tail}]`;
  return { body: Buffer.from(text, "latin1"), contentType: "application/json", contentEncoding: "utf-8", compression: undefined }; // ASCII: escaped by encodeJson
}

/** Names that no header of the user's may take. */
const OURS = new Set([
  "lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id", "parent_id", "argsrepr",
  "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers", "stamps", "compression",
]); // prettier-ignore

/** What the headers of a task's usual calls have in common; it depends on its name, on who sends, and on whether a result is wanted. */
interface UsualHeaders {
  readonly origin: string | undefined;
  readonly ignoreResult: boolean | null | undefined;
  readonly head: string;
  readonly tail: string;
}

const usualByTask = new Map<string, UsualHeaders>();
const USUAL_MAX = 1000;

const NEITHER_ETA_NOR_LIMITS = `, "shadow": null, "eta": null, "expires": null, "group": null, "group_index": null, "retries": 0, "timelimit": [null, null], "root_id": `;

/** Most calls: nothing but a task and its arguments. Pieces are joined at once, because a text that is added up piece by piece is a tree of them, dear to collect. */
function usualHeaders(task: OutgoingTask, max: number | undefined): string {
  const { origin, ignoreResult } = task;
  let usual = usualByTask.get(task.task);
  if (usual === undefined || usual.origin !== origin || usual.ignoreResult !== ignoreResult) {
    if (usualByTask.size >= USUAL_MAX) usualByTask.clear();
    const head = `{"lang": "js", "task": ${quote(task.task)}, "id": `;
    const tail = `, "origin": ${orNull(origin)}, "ignore_result": ${ignoreResult ?? "null"}, "replaced_task_nesting": 0, "stamped_headers": null, "stamps": {}}`;
    usual = { origin, ignoreResult, head, tail };
    usualByTask.set(task.task, usual);
  }
  const id = quote(task.id);
  const args = quote(argsRepr(task.args, max));
  const kwargs = quote(kwargsRepr(task.kwargs, max));
  return [
    usual.head,
    id,
    NEITHER_ETA_NOR_LIMITS,
    id,
    `, "parent_id": null, "argsrepr": `,
    args,
    `, "kwargsrepr": `,
    kwargs,
    usual.tail,
  ].join("");
}

function isUsual(task: OutgoingTask): boolean {
  return (
    task.eta === undefined &&
    task.etaAt === undefined &&
    task.group === undefined &&
    task.parentId === undefined &&
    task.timeLimitMs === undefined &&
    task.softTimeLimitMs === undefined &&
    task.shadow === undefined &&
    task.headers === undefined &&
    task.groupIndex === undefined &&
    !task.retries &&
    (task.rootId === undefined || task.rootId === task.id) &&
    task.argsrepr === undefined &&
    task.kwargsrepr === undefined &&
    !task.replacedTaskNesting &&
    task.stampedHeaders === undefined &&
    task.stamps === undefined &&
    task.periodicTaskName === undefined
  );
}

function headersOf(task: OutgoingTask, compression: string | undefined, expires: WireInstant | undefined, max?: number): string {
  if (compression === undefined && expires === undefined && isUsual(task)) return usualHeaders(task, max);
  const eta = task.eta ?? (task.etaAt === undefined ? undefined : formatInstant(task.etaAt));
  const limit = (ms: number | undefined): string => (ms === undefined ? "null" : String(ms / 1000));
  let text =
    `{"lang": "js", "task": ${quote(task.task)}, "id": ${quote(task.id)}, "shadow": ${orNull(task.shadow)}, "eta": ${orNull(eta?.text)}, "expires": ${orNull(expires?.text)}, ` +
    `"group": ${orNull(task.group)}, "group_index": ${task.groupIndex ?? "null"}, "retries": ${task.retries ?? 0}, ` +
    `"timelimit": [${limit(task.timeLimitMs)}, ${limit(task.softTimeLimitMs)}], "root_id": ${orNull(task.rootId ?? task.id)}, "parent_id": ${orNull(task.parentId)}, ` +
    `"argsrepr": ${quote(task.argsrepr ?? argsRepr(task.args, max))}, "kwargsrepr": ${quote(task.kwargsrepr ?? kwargsRepr(task.kwargs, max))}, ` +
    `"origin": ${orNull(task.origin)}, "ignore_result": ${task.ignoreResult ?? "null"}, "replaced_task_nesting": ${task.replacedTaskNesting ?? 0}, ` +
    `"stamped_headers": ${task.stampedHeaders === undefined ? "null" : encodeJson(task.stampedHeaders)}, "stamps": ${task.stamps === undefined ? "{}" : encodeJson(task.stamps, { where: "stamps" })}`;
  if (compression !== undefined) text += `, "compression": ${quote(compression)}`;
  if (task.periodicTaskName !== undefined) text += `, "periodic_task_name": ${quote(task.periodicTaskName)}`;
  if (task.headers !== undefined) {
    for (const name of Object.keys(task.headers))
      if (!OURS.has(name)) text += `, ${quote(name)}: ${encodeJson(task.headers[name], { where: `headers.${name}` })}`;
  }
  return `${text}}`;
}

function orNull(text: string | undefined): string {
  return text === undefined ? "null" : quote(text);
}

// --- reading ---------------------------------------------------------------------------------------------------------

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

/** Reads protocol 2, protocol 1 and the hybrid (celery-protocol 1.4). Hot path. @throws ProtocolError */
export function readTaskMessage(message: Message, info: DeliveryInfo, options: ReadTaskOptions): ReceivedTask {
  if (message.headers.task !== undefined) return new TaskView(message, info, message.headers, options, 2);
  const body = decodeWhole(message, options);
  if (!isMap(body) || typeof body.task !== "string")
    throw new ProtocolError("malformed", "message", "it is no task message: neither its headers nor its body name a task");
  return new TaskView(message, info, fieldsOfProtocol1(body), options, 1, bodyOfProtocol1(body));
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
  get argsrepr(): string | undefined {
    return optionalText(this.#fields, "argsrepr");
  }
  get kwargsrepr(): string | undefined {
    return optionalText(this.#fields, "kwargsrepr");
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
  for (const name in headers) if (!OURS.has(name) && name !== "redelivered") (found ??= {})[name] = headers[name];
  return found ?? NONE;
}

function readBody(body: unknown): TaskBody {
  if (isMap(body) && "args" in body) return bodyOfProtocol1(body); // hybrid
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
  return typeof value === "object" && value !== null && !Array.isArray(value);
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
  if (typeof value !== "number" || !(value >= 0)) throw new ProtocolError("malformed", "headers.timelimit", "not seconds");
  return value * 1000;
}

function instant(fields: Readonly<Record<string, unknown>>, name: string): WireInstant | undefined {
  const value = fields[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") throw new ProtocolError("malformed", `headers.${name}`, "not a date and time");
  return parseInstant(value, `headers.${name}`);
}

// --- retries ---------------------------------------------------------------------------------------------------------

export interface RetryChanges {
  readonly retries: number;
  readonly eta: WireInstant | null;
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly expires?: WireInstant | null;
  readonly timeLimitMs?: number;
  readonly softTimeLimitMs?: number;
  readonly priority?: number;
  /** Added to the user's headers. */
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly parentId?: string;
}

/** RabbitMQ would take a copied x-death for a cycle; `redelivered` was true of the old message only. */
const NOT_REPEATED = /^x-(death|first-death|last-death|delivery-count)|^redelivered$/;

/** The message of the next attempt: everything as it was but for the changes; the body's bytes are kept where they can be. */
export function retryMessage(received: ReceivedTask, changes: RetryChanges, codec: MessageCodec): Message {
  const { message } = received;
  const keepsBody = changes.args === undefined && changes.kwargs === undefined && received.protocol === 2;
  const expires = changes.expires === undefined ? received.expires : (changes.expires ?? undefined);
  const base = keepsBody
    ? headersForRetry(message.headers)
    : JSON.parse((encodeTaskMessage(rewritten(received, changes), { ...codec, now: 0 }) as OutgoingMessage).headersText);
  const body = keepsBody ? message : encodeTaskMessage(rewritten(received, changes), { ...codec, now: 0 });
  const limit = (ms: number | undefined): number | null => (ms === undefined ? null : ms / 1000);
  const headers = {
    ...base,
    ...changes.headers,
    retries: changes.retries,
    eta: changes.eta?.text ?? null,
    expires: expires?.text ?? null,
    parent_id: changes.parentId ?? received.parentId ?? null,
    timelimit: [limit(changes.timeLimitMs ?? received.timeLimitMs), limit(changes.softTimeLimitMs ?? received.softTimeLimitMs)],
  };
  return {
    headers,
    properties: { ...message.properties, priority: changes.priority ?? message.properties.priority },
    contentType: body.contentType,
    contentEncoding: body.contentEncoding,
    body: body.body,
  };
}

function headersForRetry(headers: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !NOT_REPEATED.test(name)));
}

function rewritten(received: ReceivedTask, changes: RetryChanges): OutgoingTask {
  const { args, kwargs, embed } = received.body();
  const { id, task, shadow, group, groupIndex, rootId, origin, ignoreResult, replacedTaskNesting, stampedHeaders, stamps } = received;
  const headers = headersForRetry(received.headers);
  return {
    id,
    task,
    shadow,
    group,
    groupIndex,
    rootId,
    origin,
    ignoreResult,
    replacedTaskNesting,
    stampedHeaders,
    stamps,
    headers,
    embed,
    args: changes.args ?? args,
    kwargs: changes.kwargs ?? kwargs,
  };
}
