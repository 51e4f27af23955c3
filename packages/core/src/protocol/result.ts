/** Result documents (celery-protocol 6.3). */
import { ProtocolError } from "./errors.ts";
import { readWireException, wireDocument, type WireException } from "./exception.ts";
import { formatInstant, parseInstant } from "./instant.ts";
import { encodeJson, quote, quoteName } from "./json.ts";
import type { DecodeLimits } from "./limits.ts";
import { pythonRepr } from "./python-repr.ts";
import { decodeBody, encodeBody, serializerFor, type SerializerName } from "./serializers.ts";
import { EXCEPTION_STATES } from "./states.ts";

export interface ResultDocument {
  readonly taskId: string;
  readonly state: string;
  /** What the task returned; for a state of one's own, its metadata. */
  readonly result: unknown;
  /** For FAILURE, RETRY and REVOKED. */
  readonly error: WireException | undefined;
  readonly traceback: string | null;
  /** Result tuples of the tasks that it sent. */
  readonly children: readonly unknown[];
  /** ms since 1970. */
  readonly dateDoneAt: number | null;
  readonly parentId?: string | undefined;
  readonly groupId?: string | undefined;
  readonly extended?: ExtendedFacts | undefined;
  readonly stamps?: Readonly<Record<string, unknown>> | undefined;
  /** The message is kept with the dead letters. Celery's readers pass over it. */
  readonly deadLetter?: { readonly queue: string; readonly reason: string } | undefined;
}

export interface ExtendedFacts {
  readonly name: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly worker: string;
  readonly retries: number;
  readonly queue: string | undefined;
}

/** JSON begins with the state, as Celery's does: scripts look at that prefix. Hot path. @throws ProtocolError */
export function encodeResult(
  document: ResultDocument,
  options: { readonly serializer: SerializerName; readonly typed?: boolean },
): string | Uint8Array {
  const { taskId, state, result, error, traceback, children, dateDoneAt, parentId, groupId, extended, stamps, deadLetter } = document;
  const value = error === undefined ? result : wireDocument(writableArgs(error));
  const date = dateDoneAt === null ? null : formatInstant(dateDoneAt).text;
  if (options.serializer !== "json") return encodeBody(asMap(document, value, date), { serializer: options.serializer }).body;
  const typed = options.typed !== false;
  let text =
    `{"status": ${quoteName(state)}, "result": ${value === undefined ? "null" : encodeJson(value, { typed, where: "result", undefinedProperties: "drop" })}, "traceback": ${traceback === null ? "null" : quote(traceback)}, ` +
    `"children": ${children.length === 0 ? "[]" : encodeJson(children)}, "date_done": ${date === null ? "null" : `"${date}"`}`;
  if (groupId !== undefined) text += `, "group_id": ${quote(groupId)}`;
  if (parentId !== undefined) text += `, "parent_id": ${quote(parentId)}`;
  if (extended !== undefined)
    text += `, ${encodeJson({ ...extended, queue: extended.queue ?? null }, { typed, where: "result", nonFinite: "pass" }).slice(1, -1)}`;
  if (stamps !== undefined && Object.keys(stamps).length > 0)
    text += `, "stamped_headers": ${encodeJson(Object.keys(stamps))}, ${encodeJson(stamps, { typed, nonFinite: "pass" }).slice(1, -1)}`;
  if (deadLetter !== undefined) text += `, "lovage_dead_letter": ${encodeJson(deadLetter)}`;
  return `${text}, "task_id": ${quote(taskId)}}`;
}

function asMap(document: ResultDocument, value: unknown, date: string | null): Record<string, unknown> {
  const { taskId, state, traceback, children, parentId, groupId, extended, stamps, deadLetter } = document;
  return {
    status: state,
    result: value ?? null,
    traceback,
    children,
    date_done: date,
    ...(groupId === undefined ? {} : { group_id: groupId }),
    ...(parentId === undefined ? {} : { parent_id: parentId }),
    ...(extended && {
      ...extended,
      args: extended.args.map(writable),
      kwargs: writableMap(extended.kwargs),
      queue: extended.queue ?? null,
    }),
    ...(stamps && Object.keys(stamps).length > 0 && { stamped_headers: Object.keys(stamps), ...writableMap(stamps) }),
    ...(deadLetter && { lovage_dead_letter: deadLetter }),
    task_id: taskId,
  };
}

/** An outcome must be stored whatever was thrown: what cannot be written is told by its repr, as Celery does. */
export function writableArgs(error: WireException): WireException {
  return { ...error, args: error.args.map(writable) };
}

function writableMap(map: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, writable(value)]));
}

function writable(value: unknown): unknown {
  if (typeof value === "string") return value;
  try {
    encodeJson(value);
    return value;
  } catch {
    return pythonRepr(value);
  }
}

/** Tolerates missing keys. @throws ProtocolError */
export function decodeResult(
  data: string | Uint8Array,
  options: { readonly accept: ReadonlySet<string>; readonly serializer: SerializerName; readonly limits?: DecodeLimits },
): ResultDocument {
  const { contentType, contentEncoding } = serializerFor(options.serializer);
  const body = typeof data === "string" ? Buffer.from(data, "utf8") : data;
  const map = decodeBody({ body, contentType, contentEncoding }, options);
  if (typeof map !== "object" || map === null || Array.isArray(map)) throw new ProtocolError("malformed", "result", "not an object");
  const {
    status,
    result,
    traceback,
    children,
    date_done: date,
    task_id: id,
    parent_id: parent,
    group_id: group,
  } = map as Record<string, unknown>;
  if (typeof status !== "string") throw new ProtocolError("malformed", "result.status", "not text");
  const isException = EXCEPTION_STATES.has(status);
  return {
    taskId: typeof id === "string" ? id : "",
    state: status,
    result: isException ? undefined : result,
    error: isException && result !== null ? readWireException(result) : undefined,
    traceback: typeof traceback === "string" ? traceback : null,
    children: Array.isArray(children) ? children : [],
    dateDoneAt: dateOf(date),
    parentId: typeof parent === "string" ? parent : undefined,
    groupId: typeof group === "string" ? group : undefined,
    extended: extendedOf(map as Record<string, unknown>),
    stamps: stampsOf(map as Record<string, unknown>),
    deadLetter: deadLetterOf((map as Record<string, unknown>).lovage_dead_letter),
  };
}

function deadLetterOf(value: unknown): ResultDocument["deadLetter"] {
  if (typeof value !== "object" || value === null) return undefined;
  const { queue, reason } = value as Record<string, unknown>;
  return typeof queue === "string" && typeof reason === "string" ? { queue, reason } : undefined;
}

/** A date that cannot be read does not hide the outcome. */
function dateOf(date: unknown): number | null {
  if (date instanceof Date) return date.getTime();
  if (typeof date !== "string") return null;
  try {
    return parseInstant(date).at;
  } catch {
    return null;
  }
}

/** They stand flat among the keys. */
function stampsOf(map: Readonly<Record<string, unknown>>): Record<string, unknown> | undefined {
  const names = map.stamped_headers;
  if (!Array.isArray(names)) return undefined;
  const isThere = (name: unknown): name is string => typeof name === "string" && Object.hasOwn(map, name);
  return Object.fromEntries(names.filter(isThere).map((name) => [name, map[name]]));
}

function extendedOf(map: Readonly<Record<string, unknown>>): ExtendedFacts | undefined {
  if (typeof map.name !== "string") return undefined;
  return {
    name: map.name,
    args: Array.isArray(map.args) ? map.args : [],
    kwargs: typeof map.kwargs === "object" && map.kwargs !== null ? (map.kwargs as Record<string, unknown>) : {},
    worker: typeof map.worker === "string" ? map.worker : "",
    retries: typeof map.retries === "number" ? map.retries : 0,
    queue: typeof map.queue === "string" ? map.queue : undefined,
  };
}
