/** Limits for the whole cluster, as they are written in a task's `limit` and in the setting `queueLimits`. Pure. */
import type { LimitSpec } from "../brokers/limits.ts";
import { parseRate, RATE_ACCEPTED } from "../shared/rate.ts";
import { isPlain, NotAccepted } from "./setting-kinds.ts";

/** How much is allowed. */
export interface LimitNumbers {
  /** Starts per time, all workers together: `"100/s"`, `"30/m"`, `"5/h"`, or a number per second. */
  readonly rate?: string | number;
  /** Starts that may come at once after a pause; the rate stays what it is. Default 1: evenly spaced. */
  readonly burst?: number;
  /** Tasks at once, all workers together; 0 lets none start. */
  readonly concurrency?: number;
}

export interface LimitInput<Args extends readonly unknown[] = never[]> extends LimitNumbers {
  /**
   * Limits of the same name are one: for an API that several tasks call. It is enough when one of them gives the numbers.
   * Default: `task:` and the task's name, `queue:` and the queue's.
   */
  readonly name?: string;
  /**
   * Every key has the limit for itself. A function of the task's arguments, the name of a message's header, or true for the header
   * `limit_key`, which calls write with `limitKey`. `limitKey` of a call wins over the others.
   */
  readonly key?: LimitKey<Args>;
}

export type LimitKey<Args extends readonly unknown[] = never[]> =
  | true
  | string
  | NoInfer<(...args: Args) => string | number | undefined | null>;

export interface TaskLimit {
  readonly name: string;
  /** undefined: another one of the name gives the numbers. */
  readonly spec: LimitSpec | undefined;
  readonly key: LimitKey | undefined;
}

/** Of the key in a message's headers. */
export const LIMIT_KEY_HEADER = "limit_key";

export const LIMIT_ACCEPTED = "an object of `rate`, `burst`, `concurrency`, `name` and `key`, or a list of those";

const NAME_MAX = 200;
/** Faster than Redis could count. */
const FASTEST_INTERVAL_MS = 0.001;

export const taskLimitName = (task: string): string => `task:${task}`;
export const queueLimitName = (queue: string): string => `queue:${queue}`;

/** @throws NotAccepted */
export function readLimits(input: unknown, ownName: string): readonly TaskLimit[] {
  const limits = (Array.isArray(input) ? (input as readonly unknown[]) : [input]).map((each) => readLimit(each, ownName));
  const twice = limits.find(({ name }, i) => limits.findIndex((other) => other.name === name) !== i);
  if (twice !== undefined) throw new NotAccepted(`two of them are named ${JSON.stringify(twice.name)}`);
  return limits;
}

function readLimit(input: unknown, ownName: string): TaskLimit {
  if (!isPlain(input)) throw new NotAccepted();
  const { name = ownName, key, ...numbers } = input;
  if (!isLimitName(name)) throw new NotAccepted(`\`name\` is not a name of up to ${NAME_MAX} characters without control characters`);
  const isKey = key === undefined || key === true || typeof key === "function" || (typeof key === "string" && key !== "");
  if (!isKey) throw new NotAccepted("`key` is not a function, the name of a header, or true");
  const hasNumbers = Object.keys(numbers).length > 0;
  return { name, spec: hasNumbers ? readNumbers(numbers) : undefined, key: key as LimitKey | undefined };
}

/** @throws NotAccepted */
export function readNumbers(input: unknown): LimitSpec {
  if (!isPlain(input)) throw new NotAccepted();
  const { rate, burst = 1, concurrency, ...rest } = input;
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) throw new NotAccepted(`"${unknown}" is not one of rate, burst, concurrency, name and key`);
  const perSecond = rate === undefined ? undefined : parseRate(rate);
  if (rate !== undefined && !perSecond) throw new NotAccepted(`\`rate\` takes ${RATE_ACCEPTED}, above 0`);
  if (!isCount(burst, 1)) throw new NotAccepted("`burst` takes a whole number from 1");
  if (concurrency !== undefined && !isCount(concurrency, 0)) throw new NotAccepted("`concurrency` takes a whole number from 0");
  const intervalMs = perSecond === undefined ? undefined : Math.max(1000 / perSecond, FASTEST_INTERVAL_MS);
  return { intervalMs, burst, concurrency };
}

export function isLimitName(value: unknown): value is string {
  // oxlint-disable-next-line no-control-regex -- the stores use them between the parts of an id
  return typeof value === "string" && value !== "" && value.length <= NAME_MAX && !/[\x00-\x1f\x7f]/.test(value);
}

const isCount = (value: unknown, least: number): value is number => Number.isSafeInteger(value) && (value as number) >= least;
