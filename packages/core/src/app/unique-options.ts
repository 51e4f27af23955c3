/** What a task or a call says in `unique`: read once, and made into a rule for each call. Pure. */
import { createHash } from "node:crypto";
import { ProtocolError } from "../protocol/errors.ts";
import { WireDate } from "../protocol/json-values.ts";
import type { UniqueMode, UniqueRule } from "../protocol/unique.ts";
import { DURATION_ACCEPTED, type Duration, parseDuration } from "../shared/duration.ts";
import { CallError } from "./errors.ts";
import { isPlain, NotAccepted } from "./setting-kinds.ts";

export interface UniqueOptions<Args extends readonly unknown[] = never[]> {
  /**
   * What makes two calls the same: a text or a number; a function of the task's positional arguments, which may return undefined for a call
   * that is not unique; or a list of places and names of arguments, such as `[0, "userId"]`: names are those of the task's `params`, or of
   * keyword arguments. Default: all arguments.
   */
  readonly key?: UniqueKey<Args>;
  /** How long a task holds its lock. `done`: until it has ended, retries included. `started`: until its body begins. Default `done`. */
  readonly until?: "done" | "started";
  /** The first of the calls in so much time wins, however soon it has ended; those that follow are its duplicates. */
  readonly throttle?: Duration;
  /** The last of the calls wins: it waits for so long without another one. It takes the place, and the id, of the one before. */
  readonly debounce?: Duration;
  /** With `debounce`: no longer than this from the first of the calls. */
  readonly maxWait?: Duration;
  /** While one has not ended, the last of the calls that come waits, and takes its turn then. */
  readonly keepLast?: boolean;
  /** A lock that nobody frees ends after this, counted from the call, from its ETA, and anew from each retry. Default one day. */
  readonly ttl?: Duration;
}

export type UniqueKey<Args extends readonly unknown[] = never[]> =
  | string
  | number
  | readonly (string | number)[]
  | NoInfer<(...args: Args) => string | number | undefined | null>;

/** true: until it has ended, by all arguments. false, of a call: not unique, whatever its task says. */
export type UniqueInput<Args extends readonly unknown[] = never[]> = boolean | UniqueOptions<Args>;

export interface ResolvedUnique {
  readonly mode: UniqueMode;
  readonly key: UniqueKey | undefined;
  readonly ttlMs: number;
  readonly waitMs: number;
  readonly maxWaitMs: number;
}

export const UNIQUE_ACCEPTED =
  "true, false, or an object of `key`, `ttl`, and one of `until`, `throttle`, `debounce` (with `maxWait`) and `keepLast`";

const TTL_MS = 24 * 3_600_000;
const OPTIONS: ReadonlySet<string> = new Set<keyof UniqueOptions>(["key", "until", "throttle", "debounce", "maxWait", "keepLast", "ttl"]);
const KEY_MAX = 200;
/** Of arguments, as in their message. */
const DEEPEST = 200;

/** Undefined: not unique. @throws NotAccepted */
export function readUniqueOptions(input: unknown): ResolvedUnique | undefined {
  if (input === undefined || input === false) return undefined;
  if (input === true) return { mode: "done", key: undefined, ttlMs: TTL_MS, waitMs: 0, maxWaitMs: 0 };
  if (!isPlain(input)) throw new NotAccepted();
  const unknown = Object.keys(input).find((name) => !OPTIONS.has(name));
  if (unknown !== undefined) throw new NotAccepted(`"${unknown}" is not one of ${[...OPTIONS].join(", ")}`);
  const { key, until, throttle, debounce, maxWait, keepLast, ttl } = input;
  const kinds = Object.entries({ until, throttle, debounce, keepLast: keepLast || undefined }).filter(([, value]) => value !== undefined);
  if (kinds.length > 1) throw new NotAccepted(`it has ${kinds.map(([name]) => name).join(" and ")}: keep one of them`);
  if (until !== undefined && until !== "done" && until !== "started") throw new NotAccepted('`until` takes "done" or "started"');
  if (keepLast !== undefined && typeof keepLast !== "boolean") throw new NotAccepted("`keepLast` takes true or false");
  if (maxWait !== undefined && debounce === undefined) throw new NotAccepted("`maxWait` goes with `debounce`");
  if (ttl !== undefined && throttle !== undefined) throw new NotAccepted("`throttle` says itself how long, without `ttl`");
  const isKey =
    key === undefined || typeof key === "function" || isText(key) || (Array.isArray(key) && key.length > 0 && key.every(isPlace));
  if (!isKey) throw new NotAccepted("`key` takes a text, a number, a function, or a list of places and names of arguments");
  const waitMs = msOf("debounce", debounce) ?? 0;
  const maxWaitMs = msOf("maxWait", maxWait) ?? 0;
  if (maxWaitMs > 0 && maxWaitMs < waitMs) throw new NotAccepted("`maxWait` is less than `debounce`");
  const mode: UniqueMode =
    debounce !== undefined ? "debounce" : throttle !== undefined ? "time" : keepLast === true ? "last" : (until ?? "done");
  return { mode, key: key as UniqueKey | undefined, ttlMs: msOf("throttle", throttle) ?? msOf("ttl", ttl) ?? TTL_MS, waitMs, maxWaitMs };
}

/** What is looked at of a call. */
export interface UniqueCall {
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** Names of the arguments in their order, where they are known. */
  readonly params?: readonly string[] | undefined;
}

/** Undefined for a call whose key says that it is not unique. `delayMs`: until it is due. @throws CallError */
export function uniqueRule(
  task: string,
  { mode, key, ttlMs, waitMs, maxWaitMs }: ResolvedUnique,
  call: UniqueCall,
  delayMs: number,
): UniqueRule | undefined {
  if (delayMs > 0 && mode === "debounce")
    throw new CallError(task, `a call of ${task} is debounced and has an ETA or a countdown: keep one of them`);
  const value = keyOf(task, key, call);
  if (value === undefined) return undefined;
  const rule = { mode, name: `${task}:${value}`, ttlMs, waitMs, maxWaitMs };
  return mode === "time" || delayMs <= 0 ? rule : { ...rule, ttlMs: ttlMs + Math.ceil(delayMs) };
}

function keyOf(task: string, key: UniqueKey | undefined, call: UniqueCall): string | undefined {
  const { args, kwargs } = call;
  if (typeof key === "function") {
    let value: unknown;
    try {
      value = key(...(args as never[])); // its own task's arguments: the compiler has checked the call
    } catch (cause) {
      throw new CallError(task, `unique.key of the task ${task} threw for the arguments of a call: see the cause`, { cause });
    }
    if (value === undefined || value === null) return undefined;
    if (!isText(value)) throw new CallError(task, `unique.key of the task ${task} returned neither a text nor a number`);
    return named(value);
  }
  if (key === undefined) return digest([args, kwargs]);
  if (typeof key === "object") return digest(key.map((place) => argumentAt(task, place, call)));
  return named(key);
}

/**
 * By its place or by its name, whichever way the caller gave it, where the task's `params` say which is which. One that was left out is
 * undefined, but only where it cannot be among the others: else calls that differ would be the same, and their work would be lost.
 */
function argumentAt(task: string, place: string | number, { args, kwargs, params }: UniqueCall): unknown {
  const index = typeof place === "number" ? place : (params?.indexOf(place) ?? -1);
  const name = typeof place === "string" ? place : params?.[place];
  if (name !== undefined && Object.hasOwn(kwargs, name)) return kwargs[name];
  if (index >= 0 && index < args.length) return args[index];
  const isKnown = index >= 0 && name !== undefined;
  const mayBeElsewhere = typeof place === "string" ? args.length > 0 : Object.keys(kwargs).length > 0;
  if (isKnown || !mayBeElsewhere) return undefined;
  const where = typeof place === "string" ? `names the argument "${place}"` : `takes the argument at place ${place}`;
  const given = typeof place === "string" ? "by position" : "by name";
  throw new CallError(
    task,
    `unique.key of the task ${task} ${where}, and a call gives its arguments ${given}: name them all in \`params\` of the task, or take a function as key`,
  );
}

/** As it is, so that an operator knows it; by its digest when that is not one short line. */
function named(key: string | number): string {
  const text = String(key);
  return text.length <= KEY_MAX && !/\p{Cc}/u.test(text) ? text : digest(text);
}

/** Arguments may be secrets, and long. */
const digest = (value: unknown): string => `#${createHash("sha256").update(canonical(value)).digest("hex").slice(0, 32)}`;

/** A text that no two different values share, with the members of objects in order of their names. */
function canonical(value: unknown, depth = 0): string {
  if (depth > DEEPEST)
    throw new ProtocolError("unsupported", "the key of a unique task", `nested more than ${DEEPEST} deep, or holds itself`);
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (typeof value !== "object" || value === null) return "null";
  if (Array.isArray(value)) return `[${value.map((each) => canonical(each, depth + 1)).join()}]`;
  if (value instanceof Date) return `Date(${value instanceof WireDate ? value.text : value.getTime()})`;
  if (ArrayBuffer.isView(value)) return `Bytes(${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64")})`;
  if (value instanceof Map || value instanceof Set) return `${value.constructor.name}(${canonical([...value], depth + 1)})`;
  if ("toJSON" in value && typeof value.toJSON === "function") return canonical(value.toJSON(), depth + 1);
  const members = Object.entries(value).filter(([, each]) => each !== undefined);
  const sorted = members.toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${sorted.map(([name, each]) => `${JSON.stringify(name)}:${canonical(each, depth + 1)}`).join()}}`;
}

const isPlace = (value: unknown): boolean => isText(value) && (typeof value === "string" || value >= 0);

const isText = (value: unknown): value is string | number =>
  (typeof value === "string" && value !== "") || (typeof value === "number" && Number.isSafeInteger(value));

function msOf(option: string, value: unknown): number | undefined {
  if (value === undefined) return undefined;
  const ms = parseDuration(value);
  if (ms === undefined || ms <= 0) throw new NotAccepted(`\`${option}\` takes ${DURATION_ACCEPTED}, above 0`);
  return Math.ceil(ms);
}
