/**
 * Tasks that take many messages at once: what their function is given, and what becomes of each message. A message stays
 * what it is to all others: its own id, result, retries and callbacks.
 */
import { MaxRetriesExceededError } from "../protocol/celery-errors.ts";
import type { Clock, Random } from "../shared/clock.ts";
import { DURATION_ACCEPTED, type Duration, parseDuration } from "../shared/duration.ts";
import type { Lovage } from "./app.ts";
import { CallError, TaskDefinitionError } from "./errors.ts";
import { didYouMean } from "../shared/suggest.ts";
import { isPlain } from "./setting-kinds.ts";
import { decideRetry } from "./retry-plan.ts";
import type { RetryRequest, TaskContext, TaskRequest } from "./task-context.ts";
import type { ResolvedTaskOptions, TaskOptions } from "./task-options.ts";
import { Ignore, Reject, Retry, Snooze } from "./task-signals.ts";

export interface BatchTaskOptions {
  /** Messages in one run at most. Default 100. */
  readonly size?: number;
  /** How long the first message waits for others at most. Default one second. */
  readonly wait?: Duration;
}

export interface ResolvedBatch {
  readonly size: number;
  readonly waitMs: number;
}

const SIZE = 100;
const SIZE_MAX = 10_000;
const WAIT_MS = 1000;

/** @throws TaskDefinitionError */
export function resolveBatch(task: string, options: BatchTaskOptions | undefined): ResolvedBatch | undefined {
  if (options === undefined) return undefined;
  checkNames(task, "batch", options, ["size", "wait"]);
  const { size = SIZE, wait } = options;
  if (!Number.isSafeInteger(size) || size < 1 || size > SIZE_MAX)
    throw new TaskDefinitionError(task, `batch.size of the task ${task} is ${String(size)}: it takes a whole number from 1 to ${SIZE_MAX}`);
  const waitMs = wait === undefined ? WAIT_MS : parseDuration(wait);
  if (waitMs === undefined)
    throw new TaskDefinitionError(task, `batch.wait of the task ${task} is not accepted: it takes ${DURATION_ACCEPTED}`);
  return { size, waitMs };
}

/** @throws TaskDefinitionError for what is no object of these options */
export function checkNames(task: string, option: string, value: unknown, names: readonly string[]): void {
  if (!isPlain(value))
    throw new TaskDefinitionError(task, `${option} of the task ${task} is not accepted: it takes an object of ${names.join(", ")}`);
  const unknown = Object.keys(value).find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw new TaskDefinitionError(task, `"${unknown}" is not an option of ${option} (task ${task}).${didYouMean(unknown, names)}`);
}

const HOOKS = ["beforeStart", "onSuccess", "onFailure", "onRetry", "afterReturn"] as const satisfies readonly (keyof TaskOptions)[];

/** @throws TaskDefinitionError for what is said of a single run, where there is one for many messages. */
export function checkBatchOptions(task: string, options: TaskOptions): void {
  const hook = HOOKS.find((name) => options[name] !== undefined);
  if (hook !== undefined)
    throw new TaskDefinitionError(
      task,
      `the task ${task} takes batches, so it has no ${hook}: its function sees all messages and can do the same`,
    );
}

/** What one run for many messages knows of itself. Everything of a message stands with its item. */
export interface BatchTaskContext {
  /** Of the run, not of any message. Tasks that it sends have it as their parent. */
  readonly id: string;
  /** The task's name. */
  readonly task: string;
  readonly app: Lovage;
  /** Aborts when the run should stop: soft time limit, shutdown, or when all of its messages were revoked. */
  readonly signal: AbortSignal;
  readonly log: TaskContext["log"];
  /** The worker's name, `celery@host`; undefined in eager mode. */
  readonly hostname: string | undefined;
  readonly workerPid: number;
  readonly startedAt: number;
  readonly isEager: boolean;
  /** Stores the state PROGRESS for all messages of the batch that are not marked yet. */
  progress(current: number, total?: number, meta?: Readonly<Record<string, unknown>>): Promise<void>;
  /** Stores a state of your own for all of them. */
  updateState(state: string, meta?: unknown): Promise<void>;
}

/** Facts of one message. Plain data: they cross to threads and processes. */
export type ItemFacts = Pick<
  TaskRequest,
  | "id"
  | "args"
  | "kwargs"
  | "retries"
  | "headers"
  | "rootId"
  | "parentId"
  | "group"
  | "correlationId"
  | "replyTo"
  | "delivery"
  | "startedAt"
>;

/** Options of `item.retry()`. */
export type ItemRetry = Pick<RetryRequest, "error" | "countdown" | "maxRetries">;

/**
 * One message of a batch. What is not marked when the function returns has succeeded, with the value in its place of the
 * list that the function returned, else with null; when the function throws, that is the failure of all that are not
 * marked. The first mark stays.
 */
export interface BatchItem<Args extends readonly unknown[] = readonly unknown[], Result = unknown> extends Omit<ItemFacts, "args"> {
  readonly args: Args;
  readonly isMarked: boolean;
  succeed(value?: Result): void;
  /** As if a task of its own had thrown it: the task's options say whether it is retried. */
  fail(error: unknown): void;
  /** Runs it again later; once no retry is left it has failed with `error`. */
  retry(options?: ItemRetry): void;
  /** Runs it again later, without an attempt counted. */
  snooze(delay: Duration): void;
  /** Ends it without a result. */
  ignore(): void;
  reject(reason?: unknown, options?: { readonly requeue?: boolean }): void;
}

/** What became of one message: a value, or what a task of its own would have thrown. */
export type ItemEnd = { readonly value: unknown } | { readonly thrown: unknown };

/** What became of each message, in their order: what running a batch returns. */
export class BatchEnds {
  readonly each: readonly ItemEnd[];

  constructor(each: readonly ItemEnd[]) {
    this.each = each;
  }
}

/** Facts that the one who made them can look at while the batch runs here: `end` is set when the item is marked. */
export interface WatchedFacts extends ItemFacts {
  end?: ItemEnd;
}

/** How an item is retried. */
export interface ItemServices {
  options(): Pick<ResolvedTaskOptions, "retry">;
  readonly clock: Clock;
  readonly random: Random;
}

export class Item implements BatchItem {
  readonly #task: string;
  readonly #facts: WatchedFacts;
  readonly #services: ItemServices;
  readonly args: readonly unknown[];

  /** @param args bound to the task's parameters and checked */
  constructor(task: string, facts: WatchedFacts, args: readonly unknown[], services: ItemServices) {
    this.#task = task;
    this.#facts = facts;
    this.#services = services;
    this.args = args;
  }

  get end(): ItemEnd | undefined {
    return this.#facts.end;
  }
  get isMarked(): boolean {
    return this.#facts.end !== undefined;
  }

  succeed(value: unknown = null): void {
    this.#facts.end ??= { value };
  }
  fail(error: unknown): void {
    this.#facts.end ??= { thrown: error };
  }
  ignore(): void {
    this.fail(new Ignore());
  }
  reject(reason?: unknown, options?: { readonly requeue?: boolean }): void {
    this.fail(new Reject(reason, options));
  }
  snooze(delay: Duration): void {
    this.fail(new Snooze(this.#ms("delay", delay)));
  }
  retry({ error, countdown, maxRetries }: ItemRetry = {}): void {
    const { options, clock, random } = this.#services;
    const delayMs = countdown === undefined ? undefined : this.#ms("countdown", countdown);
    const { retries, headers, startedAt } = this.#facts;
    const attempt = { retries, headers, startedAt, now: clock.now() };
    const step = decideRetry({ error, delayMs, maxRetries, isByHand: true }, attempt, options().retry, random);
    this.fail(
      step === undefined
        ? (error ?? new MaxRetriesExceededError(`Can't retry ${this.#task}[${this.id}]`))
        : new Retry({ ...step, etaAt: undefined }),
    );
  }

  #ms(option: string, value: Duration): number {
    const ms = parseDuration(value);
    if (ms === undefined)
      throw new CallError(this.#task, `${option} of an item of ${this.#task} is not accepted: it takes ${DURATION_ACCEPTED}`);
    return ms;
  }

  get id(): string {
    return this.#facts.id;
  }
  get kwargs(): Readonly<Record<string, unknown>> {
    return this.#facts.kwargs;
  }
  get retries(): number {
    return this.#facts.retries;
  }
  get headers(): Readonly<Record<string, unknown>> {
    return this.#facts.headers;
  }
  get rootId(): string {
    return this.#facts.rootId;
  }
  get parentId(): string | undefined {
    return this.#facts.parentId;
  }
  get group(): string | undefined {
    return this.#facts.group;
  }
  get correlationId(): string | undefined {
    return this.#facts.correlationId;
  }
  get replyTo(): string | undefined {
    return this.#facts.replyTo;
  }
  get delivery(): TaskRequest["delivery"] {
    return this.#facts.delivery;
  }
  get startedAt(): number {
    return this.#facts.startedAt;
  }
}

/** Runs the function of a batch task. Never rejects: what it throws is the end of each item that is not marked. */
export async function runBatch(task: string, items: readonly Item[], run: (items: readonly Item[]) => unknown): Promise<void> {
  const open = items.filter(({ isMarked }) => !isMarked); // arguments that do not fit have ended theirs
  if (open.length === 0) return;
  try {
    const values = await run(open);
    if (values !== undefined && values !== null) succeedAll(task, open, values);
    else for (const item of open) item.succeed();
  } catch (error) {
    for (const item of open) item.fail(error);
  }
}

function succeedAll(task: string, items: readonly Item[], values: unknown): void {
  if (!Array.isArray(values) || values.length !== items.length) {
    const what = Array.isArray(values) ? `a list of ${values.length}` : `a ${typeof values}`;
    throw new CallError(
      task,
      `${task} returned ${what} for a batch of ${items.length}: it takes nothing, or a list with one value for each item`,
    );
  }
  for (const [index, item] of items.entries()) item.succeed(values[index]);
}
