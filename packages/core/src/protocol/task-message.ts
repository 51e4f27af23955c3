/** Task messages as Lovage writes them: Celery's protocol 2 (celery-protocol 1). */
import { isEmpty } from "../shared/is-empty.ts";
import { formatInstant } from "./instant.ts";
import { encodeJson, type EncodeJsonOptions, quote } from "./json.ts";
import type { Message, WireInstant } from "./message.ts";
import { OutgoingMessage } from "./outgoing-message.ts";
import { argsRepr, kwargsRepr } from "./python-repr.ts";
import { encodeBody, type SerializerName } from "./serializers.ts";
import type { SignatureData } from "./signature.ts";
import { PROTOCOL_HEADERS } from "./task-headers.ts";

export { readTaskMessage, type ReadTaskOptions, type ReceivedTask, type TaskBody } from "./received-task.ts";
export { retryMessage, type RetryChanges } from "./retry-message.ts";

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
      expirationMs: expires === undefined ? undefined : Math.max(0, Math.round(expires.at - options.now)),
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
    checkArguments(args, kwargs, codec.serializer);
    return encodeBody([args, kwargs, { callbacks: null, errbacks: null, chain: null, chord: null, ...embed }], codec);
  }
  const typed = codec.typed !== false;
  const tail =
    embed === undefined
      ? EMPTY_EMBED
      : encodeJson({ callbacks: null, errbacks: null, chain: null, chord: null, ...embed }, { typed, where: "embed" });
  const written = encodeJson(args, typed ? ARGS : PLAIN_ARGS);
  const named = isNothing(kwargs) ? "{}" : encodeJson(kwargs, typed ? KWARGS : PLAIN_KWARGS);
  const text = `[${written}, ${named}, ${tail}]`;
  return { body: Buffer.from(text, "latin1"), contentType: "application/json", contentEncoding: "utf-8", compression: undefined }; // ASCII: escaped by encodeJson
}

const ARGS: EncodeJsonOptions = { instances: "refuse", where: "args" };
const KWARGS: EncodeJsonOptions = { instances: "refuse", where: "kwargs" };
const PLAIN_ARGS: EncodeJsonOptions = { ...ARGS, typed: false };
const PLAIN_KWARGS: EncodeJsonOptions = { ...KWARGS, typed: false };

/** Most calls have none. What only looks empty, such as a Map, or cannot be looked at, is for `encodeJson` to judge. */
function isNothing(kwargs: OutgoingTask["kwargs"]): boolean {
  try {
    return Object.getPrototypeOf(kwargs) === Object.prototype && isEmpty(kwargs);
  } catch {
    return false;
  }
}

/** Serializers that write what `encodeJson` can write; others may know more. */
const BUILT_IN: ReadonlySet<string> = new Set(["json", "yaml", "msgpack"]);

/** @throws ProtocolError with the path to an argument that would not survive, as the caller wrote it. */
export function checkArguments(args: OutgoingTask["args"], kwargs: OutgoingTask["kwargs"], serializer: SerializerName): void {
  if (!BUILT_IN.has(serializer)) return;
  encodeJson(args, ARGS);
  encodeJson(kwargs, KWARGS);
}

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

/** Most calls: nothing but a task and its arguments. In pieces, which become a text when the envelope does. */
function usualHeaders(task: OutgoingTask, max: number | undefined): readonly string[] {
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
  const kwargs = isNothing(task.kwargs) ? `"{}"` : quote(kwargsRepr(task.kwargs, max));
  return [usual.head, id, NEITHER_ETA_NOR_LIMITS, id, `, "parent_id": null, "argsrepr": `, args, `, "kwargsrepr": `, kwargs, usual.tail];
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

function headersOf(task: OutgoingTask, compression: string | undefined, expires: WireInstant | undefined, max?: number): readonly string[] {
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
      if (!PROTOCOL_HEADERS.has(name)) text += `, ${quote(name)}: ${encodeJson(task.headers[name], { where: `headers.${name}` })}`;
  }
  return [text, "}"];
}

function orNull(text: string | undefined): string {
  return text === undefined ? "null" : quote(text);
}
