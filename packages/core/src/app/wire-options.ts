/** Options of a call as signatures hold them: Celery's spelling, seconds and ISO times. Both ways. */
import { isMap, namesIn } from "../canvas/signature-data.ts";
import { formatInstant, parseInstant } from "../protocol/instant.ts";
import type { SignatureData } from "../protocol/signature.ts";
import type { Embed } from "../protocol/task-message.ts";
import { callDuration, callInstant, callLimitKey, type CallOptions } from "./call-options.ts";
import { CallError } from "./errors.ts";
import { withFairKey } from "./fair-key.ts";
import { LIMIT_KEY_HEADER } from "./limit-options.ts";

type Wire = Readonly<Record<string, unknown>>;

/** Names that differ only in spelling. */
const SPELLINGS: readonly (readonly [keyof CallOptions, string])[] = [
  ["exchange", "exchange"], ["exchangeType", "exchange_type"], ["routingKey", "routing_key"], ["priority", "priority"],
  ["serializer", "serializer"], ["compression", "compression"], ["headers", "headers"], ["taskId", "task_id"], ["shadow", "shadow"],
  ["ignoreResult", "ignore_result"], ["retry", "retry"], ["deliveryMode", "delivery_mode"], ["replyTo", "reply_to"],
  ["argsrepr", "argsrepr"], ["kwargsrepr", "kwargsrepr"], ["rootId", "root_id"], ["parentId", "parent_id"], ["groupId", "group_id"],
  ["groupIndex", "group_index"], ["replacedTaskNesting", "replaced_task_nesting"], ["periodicTaskName", "periodic_task_name"],
  ["chord", "chord"], ["chain", "chain"],
]; // prettier-ignore

const DURATIONS: readonly (readonly [keyof CallOptions, string])[] = [
  ["countdown", "countdown"], ["timeLimit", "time_limit"], ["softTimeLimit", "soft_time_limit"],
]; // prettier-ignore

/** @throws CallError for what cannot be read, and for `encrypt` and `unique`, which do not travel inside of signatures */
export function toWireOptions(task: string, options: CallOptions): Record<string, unknown> {
  if (options.encrypt !== undefined && options.encrypt !== false)
    throw new CallError(
      task,
      `a signature of ${task} has encrypt, and arguments inside of signatures travel in the clear: call the task by itself`,
    );
  if (options.unique !== undefined && options.unique !== false)
    throw new CallError(task, `a signature of ${task} has unique, and what is part of a workflow takes no lock: call the task by itself`);
  const wire: Record<string, unknown> = {};
  for (const [ours, theirs] of SPELLINGS) if (options[ours] !== undefined) wire[theirs] = plain(options[ours]);
  for (const [ours, theirs] of DURATIONS) if (options[ours] !== undefined) wire[theirs] = callDuration(task, ours, options[ours]) / 1000;
  const { queue, eta, expires, link, linkError, stamps, fairKey } = options;
  if (fairKey !== undefined) wire.headers = withFairKey(task, fairKey, [], options.headers);
  if (options.limitKey !== undefined)
    wire.headers = {
      ...options.headers,
      ...(wire.headers as object | undefined),
      [LIMIT_KEY_HEADER]: callLimitKey(task, options.limitKey),
    };
  if (queue !== undefined) wire.queue = typeof queue === "string" ? queue : queue.name;
  if (eta !== undefined) wire.eta = formatInstant(callInstant(task, "eta", eta)).text;
  if (expires !== undefined)
    wire.expires =
      expires instanceof Date ? formatInstant(callInstant(task, "expires", expires)).text : callDuration(task, "expires", expires) / 1000;
  if (link !== undefined) wire.link = plain(listOf(link));
  if (linkError !== undefined) wire.link_error = plain(listOf(linkError));
  return stamps === undefined ? wire : { ...wire, ...stamps, stamped_headers: options.stampedHeaders ?? Object.keys(stamps) };
}

/** What no program of ours wrote may be of any kind: what does not fit is left out. @throws ProtocolError for a time that is none */
export function toCallOptions(wire: Wire): CallOptions {
  const options: Record<string, unknown> = {};
  for (const [ours, theirs] of SPELLINGS) if (wire[theirs] !== undefined && wire[theirs] !== null) options[ours] = wire[theirs];
  for (const [ours, theirs] of DURATIONS) if (typeof wire[theirs] === "number") options[ours] = wire[theirs];
  if (typeof wire.queue === "string") options.queue = wire.queue;
  const eta = instantIn(wire.eta, "options.eta");
  if (eta !== undefined) {
    options.eta = eta;
    delete options.countdown;
  }
  const expires = typeof wire.expires === "number" ? wire.expires : instantIn(wire.expires, "options.expires");
  if (expires !== undefined) options.expires = expires;
  for (const [ours, theirs] of [
    ["link", "link"],
    ["linkError", "link_error"],
  ] as const) {
    const links = wire[theirs];
    if (isMap(links) || (Array.isArray(links) && links.length > 0)) options[ours] = links;
  }
  const names = namesIn(wire.stamped_headers).filter((name) => Object.hasOwn(wire, name));
  if (names.length > 0)
    Object.assign(options, { stampedHeaders: names, stamps: Object.fromEntries(names.map((name) => [name, wire[name]])) });
  return options; // each was looked at, but for what the encoder checks
}

function instantIn(value: unknown, where: string): Date | undefined {
  if (value instanceof Date) return value;
  return typeof value === "string" ? new Date(parseInstant(value, where).at) : undefined;
}

function listOf<T>(value: T | readonly T[]): readonly T[] {
  return Array.isArray(value) ? (value as readonly T[]) : [value as T];
}

/** Signatures that are held as objects become what they are on the wire. */
export function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  return isMap(value) && typeof value.toJSON === "function" ? (value.toJSON as () => SignatureData)() : value;
}

/** What a call's message carries of the workflow around it. */
export function embedOf({ link, linkError, chord, chain }: CallOptions): Embed {
  const signatures = (links: unknown): readonly SignatureData[] | null =>
    links === undefined ? null : (plain(listOf(links)) as readonly SignatureData[]); // links are nothing else
  return {
    callbacks: signatures(link),
    errbacks: signatures(linkError),
    chord: chord === undefined ? null : (plain(chord) as SignatureData),
    chain: chain === undefined ? null : (plain(chain) as readonly SignatureData[]),
  };
}
