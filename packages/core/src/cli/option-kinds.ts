/** Kinds of options, and what their texts mean. A parser throws InvalidArgumentError; commander adds which option it was. */
import { InvalidArgumentError } from "commander";
import { DURATION_ACCEPTED, parseDuration } from "../shared/duration.ts";
import type { OptionSpec } from "./command.ts";

type Extra = Pick<OptionSpec<unknown>, "hidden" | "completes">;

/** Present or not. */
export function flag(flags: string, description: string, extra: Extra = {}): OptionSpec<boolean> {
  return { flags, description, ...extra };
}

export function text(flags: string, description: string, extra: Extra = {}): OptionSpec<string | undefined> {
  return { flags, description, parse: (value) => value, ...extra };
}

/** In any case of letters: Celery's users write `-l INFO`. */
export function choice<const T extends string>(flags: string, description: string, choices: readonly T[]): OptionSpec<T | undefined> {
  return {
    flags,
    description,
    choices,
    parse(value) {
      const found = choices.find((each) => each === value.toLowerCase());
      if (found === undefined) throw new InvalidArgumentError(`It takes one of ${choices.join(", ")}.`);
      return found;
    },
  };
}

/** `a,b,c`; empty parts do not count. */
export function names(flags: string, description: string, extra: Extra = {}): OptionSpec<readonly string[] | undefined> {
  return { flags, description, parse: readNames, ...extra };
}

export function wholeNumber(
  flags: string,
  description: string,
  least: number,
  most = Number.MAX_SAFE_INTEGER,
): OptionSpec<number | undefined> {
  return { flags, description, parse: (value) => readWholeNumber(value, least, most) };
}

/** Celery's `max,min`; without a minimum it is 1. */
export function range(flags: string, description: string): OptionSpec<{ readonly max: number; readonly min: number } | undefined> {
  return {
    flags,
    description,
    parse(value) {
      const [max, min = 1, ...more] = value.split(",").map((part) => readWholeNumber(part.trim(), 1, 100_000));
      if (max === undefined || more.length > 0 || min > max)
        throw new InvalidArgumentError("It takes the most and the least, such as 10,2.");
      return { max, min };
    },
  };
}

export function decimal(flags: string, description: string): OptionSpec<number | undefined> {
  return {
    flags,
    description,
    parse(value) {
      const number = Number(value);
      if (value.trim() === "" || !Number.isFinite(number) || number < 0) throw new InvalidArgumentError("It takes a number from 0.");
      return number;
    },
  };
}

/** Milliseconds. A bare number is seconds, as everywhere in Celery. */
export function durationMs(flags: string, description: string): OptionSpec<number | undefined> {
  return { flags, description, parse: readDurationMs };
}

/** Per second. `10/s`, `600/m`, `1/h`, or a number a second. */
export function rate(flags: string, description: string): OptionSpec<number | undefined> {
  return {
    flags,
    description,
    parse(value) {
      const match = /^(\d+(?:\.\d+)?)(?:\/([smh]))?$/.exec(value);
      const perSecond = Number(match?.[1]) / (match?.[2] === "h" ? 3600 : match?.[2] === "m" ? 60 : 1);
      if (!(perSecond > 0)) throw new InvalidArgumentError("It takes a rate above zero, such as 10/s, 600/m or 5/h.");
      return perSecond;
    },
  };
}

/** JSON, checked here and decoded where it is used: `JSON.parse` would round long integers. The value is the text. */
export function json(flags: string, description: string, accepts: "an array" | "an object" | "any value"): OptionSpec<string | undefined> {
  return {
    flags,
    description,
    parse(value) {
      let parsed: unknown;
      try {
        parsed = JSON.parse(value);
      } catch (error) {
        throw new InvalidArgumentError(`It is not JSON: ${(error as SyntaxError).message}.`);
      }
      if (accepts === "any value") return value;
      const isArray = Array.isArray(parsed);
      const isRight = accepts === "an array" ? isArray : typeof parsed === "object" && parsed !== null && !isArray;
      if (!isRight)
        throw new InvalidArgumentError(`It takes ${accepts} in JSON, such as ${accepts === "an array" ? "'[1, 2]'" : `'{"key": 1}'`}.`);
      return value;
    },
  };
}

export function readNames(value: string): readonly string[] {
  const found = value.split(",").map((name) => name.trim());
  const named = found.filter((name) => name !== "");
  if (named.length === 0) throw new InvalidArgumentError("It takes names, separated by commas.");
  return named;
}

export function readDurationMs(value: string): number {
  const ms = parseDuration(value) ?? parseDuration(value.trim() === "" ? undefined : Number(value));
  if (ms === undefined) throw new InvalidArgumentError(`It takes ${DURATION_ACCEPTED}.`);
  return ms;
}

/** When something is due or expires: a duration from now, or a date and time in ISO 8601. */
export function readWhen(value: string): { readonly afterMs: number } | { readonly at: Date } {
  if (/^[\d.]+\s*[a-z]*$/.test(value)) return { afterMs: readDurationMs(value) };
  return { at: readDate(value) };
}

/** Without an offset it is UTC, as in Celery's messages. */
export function readDate(value: string): Date {
  const hasZone = /(?:z|[+-]\d\d:?\d\d)$/i.test(value);
  const date = /^\d{4}-\d\d-\d\d/.test(value) ? new Date(hasZone || value.length === 10 ? value : `${value}Z`) : new Date(Number.NaN);
  if (Number.isNaN(date.getTime())) throw new InvalidArgumentError("It takes a date and time in ISO 8601, such as 2026-12-24T18:00:00Z.");
  return date;
}

function readWholeNumber(value: string, least: number, most: number): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || number < least || number > most) {
    throw new InvalidArgumentError(`It takes a whole number from ${least}${most === Number.MAX_SAFE_INTEGER ? "" : ` to ${most}`}.`);
  }
  return number;
}
