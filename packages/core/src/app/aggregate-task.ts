/** Tasks whose calls become one by key, across producers and workers: what can be said of them, and how the one message looks. */
import { DURATION_ACCEPTED, type Duration, parseDuration } from "../shared/duration.ts";
import { checkNames, type ResolvedBatch } from "./batch-task.ts";
import { TaskDefinitionError } from "./errors.ts";

export interface AggregateOptions<Args extends readonly unknown[] = readonly never[]> {
  /** Calls with the same key become one. Given the call's arguments by position. Default: all calls of the task. */
  readonly key?: (...args: Args) => string | number;
  /** Calls in one at most. Default 100. */
  readonly maxSize?: number;
  /** How long the first call waits for others at most. Default ten seconds. */
  readonly maxWait?: Duration;
}

export interface ResolvedAggregate extends ResolvedBatch {
  /** May throw: it is the user's. */
  keyOf(args: readonly unknown[]): string;
}

const SIZE = 100;
const SIZE_MAX = 1000;
const WAIT_MS = 10_000;
const KEY_MAX = 512;

/** @throws TaskDefinitionError */
export function resolveAggregate(task: string, options: AggregateOptions<never> | undefined): ResolvedAggregate | undefined {
  if (options === undefined) return undefined;
  checkNames(task, "aggregate", options, ["key", "maxSize", "maxWait"]);
  if (options.key !== undefined && typeof options.key !== "function")
    throw new TaskDefinitionError(task, `aggregate.key of the task ${task} is not accepted: it takes a function of the call's arguments`);
  const { maxSize: size = SIZE, maxWait, key } = options;
  if (!Number.isSafeInteger(size) || size < 1 || size > SIZE_MAX)
    throw new TaskDefinitionError(
      task,
      `aggregate.maxSize of the task ${task} is ${String(size)}: it takes a whole number from 1 to ${SIZE_MAX}`,
    );
  const waitMs = maxWait === undefined ? WAIT_MS : parseDuration(maxWait);
  if (waitMs === undefined)
    throw new TaskDefinitionError(task, `aggregate.maxWait of the task ${task} is not accepted: it takes ${DURATION_ACCEPTED}`);
  const given = key as ((...args: readonly unknown[]) => unknown) | undefined; // what callers send is not typed
  return { size, waitMs, keyOf: (args) => (given === undefined ? "" : checkedKey(task, given(...args))) };
}

function checkedKey(task: string, key: unknown): string {
  if ((typeof key !== "string" && typeof key !== "number") || String(key).length > KEY_MAX)
    throw new TaskDefinitionError(task, `aggregate.key of the task ${task} must give a text of at most ${KEY_MAX} characters, or a number`);
  return String(key);
}

/** What a group is called: calls of one task through one queue under one key. */
export interface GroupName {
  readonly queue: string;
  readonly task: string;
  readonly key: string;
}

export function groupText({ queue, task, key }: GroupName): string {
  return JSON.stringify([queue, task, key]);
}

/** undefined for what is none of ours. */
export function readGroup(text: string): GroupName | undefined {
  try {
    const [queue, task, key] = JSON.parse(text) as readonly unknown[];
    if (typeof queue === "string" && typeof task === "string" && typeof key === "string") return { queue, task, key };
  } catch {
    // not ours
  }
  return undefined;
}
