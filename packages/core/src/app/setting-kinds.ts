/**
 * The kinds of values a setting can have: how each is checked, read from a text of the environment, and typed.
 * `read` throws `NotAccepted`; whoever calls it knows the setting's name and origin and says them.
 */
import { DURATION_ACCEPTED, parseDuration, type Duration } from "../shared/duration.ts";

export interface Kind<Input, Value> {
  /** What is accepted, for error messages and the documentation. */
  readonly accepts: string;
  /** A value from code or a file. @throws NotAccepted */
  read(value: unknown): Value;
  /** What a text of the environment stands for, to be given to `read`. */
  fromText(text: string): unknown;
  /** Values are milliseconds, and the resolved setting's name ends in `Ms`. */
  readonly isDuration?: boolean;
  /** Only for types: what users may write. */
  readonly input?: Input;
}

/** `detail` names the part of a structured value that is wrong. */
export class NotAccepted extends Error {
  readonly detail: string | undefined;

  constructor(detail?: string) {
    super(detail ?? "not accepted");
    this.detail = detail;
  }
}

export type InputOf<K> = K extends Kind<infer Input, unknown> ? Input : never;
export type ValueOf<K> = K extends Kind<unknown, infer Value> ? Value : never;

const TRUE = /^(?:true|yes|on|1)$/i;
const FALSE = /^(?:false|no|off|0)$/i;
const NONE = /^(?:none|null)$/i;

export const flag: Kind<boolean, boolean> = {
  accepts: "true or false",
  read: (value) => (typeof value === "boolean" ? value : fail()),
  fromText: (text) => (TRUE.test(text) ? true : FALSE.test(text) ? false : text),
};

export function integer(min = 0, max = Number.MAX_SAFE_INTEGER): Kind<number, number> {
  return {
    accepts: max === Number.MAX_SAFE_INTEGER ? `a whole number from ${min}` : `a whole number from ${min} to ${max}`,
    read: (value) => (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max ? (value as number) : fail()),
    fromText: numberOrText,
  };
}

export const decimal: Kind<number, number> = {
  accepts: "a number from 0",
  read: (value) => (typeof value === "number" && value >= 0 ? value : fail()),
  fromText: numberOrText,
};

export const duration: Kind<Duration, number> & { readonly isDuration: true } = {
  accepts: DURATION_ACCEPTED,
  read: (value) => parseDuration(value) ?? fail(),
  fromText: numberOrText,
  isDuration: true,
};

/** A kind that also takes null (`None` or `null` in the environment). */
export function optional<Input, Value>(kind: Kind<Input, Value>): Kind<Input | null, Value | null> {
  return {
    ...kind,
    accepts: `${kind.accepts}, or null`,
    read: (value: unknown) => (value === null ? null : kind.read(value)),
    fromText: (written: string) => (NONE.test(written) ? null : kind.fromText(written)),
  };
}

export const optionalDuration: Kind<Duration | null, number | null> & { readonly isDuration: true } = {
  ...optional(duration),
  isDuration: true,
};

export const text: Kind<string, string> = {
  accepts: "a text that is not empty",
  read: (value) => (typeof value === "string" && value !== "" ? value : fail()),
  fromText: (written) => written,
};

export function oneOf<const Choice extends string>(...choices: readonly Choice[]): Kind<Choice, Choice> {
  return {
    accepts: `one of ${choices.map((choice) => `"${choice}"`).join(", ")}`,
    read: (value) => choices.find((choice) => choice === value) ?? fail(),
    fromText: (written) => written,
  };
}

/** A list of texts; in the environment separated by commas, or as JSON. A single text is a list of one. */
export const textList: Kind<readonly string[] | string, readonly string[]> = {
  accepts: "a list of texts (in the environment separated by commas)",
  read: (value) => {
    if (typeof value === "string") return [value];
    return Array.isArray(value) && value.every((item) => typeof item === "string") ? Object.freeze([...value]) : fail();
  },
  fromText: (written) => (written.trim().startsWith("[") ? jsonOrText(written) : commaList(written)),
};

export type Plain = Readonly<Record<string, unknown>>;

/** An object whose content belongs to whoever uses it; in the environment as JSON. */
export const plainObject: Kind<Plain, Plain> = {
  accepts: "an object (in the environment as JSON)",
  read: (value) => (isPlain(value) ? Object.freeze({ ...value }) : fail()),
  fromText: jsonOrText,
};

/** A value that has its own reader; in the environment as JSON. `read` may throw NotAccepted with a detail. */
export function custom<Input, Value>(accepts: string, read: (value: unknown) => Value): Kind<Input, Value> {
  return { accepts, read, fromText: jsonOrText };
}

/** For settings that are accepted and never looked at. */
export const anything: Kind<unknown, unknown> = { accepts: "anything", read: (value) => value, fromText: (written) => written };

export function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function jsonOrText(written: string): unknown {
  try {
    return JSON.parse(written);
  } catch {
    return written; // `read` refuses it, with what is accepted
  }
}

function numberOrText(written: string): unknown {
  return /^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\s*$/i.test(written) ? Number(written) : written.trim();
}

function commaList(written: string): string[] {
  return written
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

function fail(detail?: string): never {
  throw new NotAccepted(detail);
}
