/** What a user hands to `app.task(...)`, in its typed forms, and the one plain form that is kept. */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { didYouMean } from "../shared/suggest.ts";
import type { AggregateOptions } from "./aggregate-task.ts";
import { type BatchItem, type BatchTaskContext, type BatchTaskOptions, checkBatchOptions } from "./batch-task.ts";
import { TaskDefinitionError } from "./errors.ts";
import type { TaskContext } from "./task-context.ts";
import type { TaskHooks, TaskOptions } from "./task-options.ts";

/** One schema checks a task's single argument; a list of them its arguments in order. */
export type InputSchema = StandardSchemaV1 | readonly StandardSchemaV1[];

/** What callers write. */
export type CallerArgs<Schema extends InputSchema> = Schema extends StandardSchemaV1
  ? [input: StandardSchemaV1.InferInput<Schema>]
  : Schema extends readonly StandardSchemaV1[]
    ? { -readonly [Index in keyof Schema]: Schema[Index] extends StandardSchemaV1 ? StandardSchemaV1.InferInput<Schema[Index]> : never }
    : never;

/** What the task receives, after the schema has transformed it. */
export type RunArgs<Schema extends InputSchema> = Schema extends StandardSchemaV1
  ? [input: StandardSchemaV1.InferOutput<Schema>]
  : Schema extends readonly StandardSchemaV1[]
    ? { -readonly [Index in keyof Schema]: Schema[Index] extends StandardSchemaV1 ? StandardSchemaV1.InferOutput<Schema[Index]> : never }
    : never;

interface DefinitionBase extends TaskOptions {
  /** The name on the wire: callers in other languages use it, so it is API. */
  readonly name: string;
  /**
   * Names of the parameters after `ctx`, in order: keyword arguments of callers (Python's above all) are bound to them.
   * Without it, keyword arguments are in `ctx.kwargs`.
   */
  readonly params?: readonly string[];
}

/** The function of a task that takes many messages sees them all: there is no hook for one. */
type HooklessBase = Omit<DefinitionBase, keyof TaskHooks>;

export interface TaskDefinition<Args extends readonly unknown[], Result> extends DefinitionBase {
  run(ctx: TaskContext, ...args: Args): Result;
}

export interface CheckedTaskDefinition<Schema extends InputSchema, Result> extends DefinitionBase {
  /**
   * Any Standard Schema (zod, valibot, arktype, ...). One schema checks the only argument, which may also come as
   * keyword arguments; a list checks the arguments in order. `run` receives what the schema returns.
   */
  readonly input: Schema;
  run(ctx: TaskContext, ...args: RunArgs<Schema>): Result;
}

/** What a batch's function returns: nothing, or one value for each item that it was given. */
export type BatchReturn<Result> = void | null | readonly Result[] | Promise<void | null | readonly Result[]>;

export interface BatchTaskDefinition<Args extends readonly unknown[], Result> extends HooklessBase {
  /** Its function takes many messages at once. */
  readonly batch: BatchTaskOptions;
  run(ctx: BatchTaskContext, items: readonly BatchItem<Args, Result>[]): BatchReturn<Result>;
}

export interface CheckedBatchTaskDefinition<Schema extends InputSchema, Result> extends HooklessBase {
  readonly batch: BatchTaskOptions;
  /** Checks each message for itself: one that does not fit fails alone. */
  readonly input: Schema;
  run(ctx: BatchTaskContext, items: readonly BatchItem<RunArgs<Schema>, Result>[]): BatchReturn<Result>;
}

export interface AggregateTaskDefinition<Args extends readonly unknown[], Result> extends HooklessBase {
  /** Calls with the same key become one run, whoever sent them and whichever worker took them. */
  readonly aggregate: AggregateOptions<Args>;
  run(ctx: BatchTaskContext, items: readonly BatchItem<Args, Result>[]): BatchReturn<Result>;
}

/** A definition without its types, as it is kept. */
export interface StoredDefinition {
  readonly name: string;
  readonly options: TaskOptions;
  /** `run` takes the context first. */
  readonly takesContext: boolean;
  readonly run: (...args: never[]) => unknown;
  readonly params: readonly string[] | undefined;
  readonly input: InputSchema | undefined;
  /** `run` takes many messages at once. */
  readonly batch?: BatchTaskOptions | undefined;
  /** The same, of calls that become one by key. */
  readonly aggregate?: AggregateOptions<never> | undefined;
}

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof TaskOptions>([
  "queue", "exchange", "exchangeType", "routingKey", "priority", "deliveryMode", "fairKey", "serializer", "compression", "expires", "encrypt", "pool",
  "timeLimit", "softTimeLimit", "rateLimit", "limit", "unique", "acksLate", "acksOnFailure", "acksOnTimeout", "acksOnFailureOrTimeout",
  "rejectOnWorkerLost", "idempotent", "ignoreResult", "storeErrorsEvenIfIgnored", "trackStarted", "storeEagerResult",
  "resultExpires", "trail", "sendEvents", "resultreprMaxsize", "maxRetries", "defaultRetryDelay", "autoretryFor",
  "dontAutoretryFor", "retryKwargs", "retryBackoff", "retryBackoffMax", "retryJitter", "retry", "deadLetter", "throws", "beforeStart",
  "onSuccess", "onFailure", "onRetry", "afterReturn",
]); // prettier-ignore

/** Celery's options that Python needs and TypeScript does not. */
const POINTLESS: Readonly<Record<string, string>> = {
  bind: "the task's context is the first parameter of run(ctx, ...)",
  base: "hooks are options (beforeStart, onSuccess, ...)",
  typing: "arguments are checked by the compiler, and by `input`",
  pydantic: "use `input` with any Standard Schema",
};

/** @throws TaskDefinitionError */
export function storeDefinition(nameOrDefinition: unknown, second: unknown, third: unknown): StoredDefinition {
  if (typeof nameOrDefinition === "string") {
    const [options, run] = third === undefined ? [{}, second] : [second, third];
    return checked({
      name: nameOrDefinition,
      options: options ?? {},
      takesContext: false,
      run: run as StoredDefinition["run"],
      params: undefined,
      input: undefined,
    });
  }
  if (typeof nameOrDefinition !== "object" || nameOrDefinition === null) {
    throw new TaskDefinitionError(
      "",
      "app.task() takes a name and a function, or an object with name and run: tasks have no automatic names, because the name is what other programs call",
    );
  }
  const { name, params, input, run, batch, aggregate, ...options } = nameOrDefinition as Untyped;
  if (batch !== undefined && aggregate !== undefined)
    throw new TaskDefinitionError(String(name), `the task ${String(name)} has both batch and aggregate: keep one of them`);
  if (batch !== undefined || aggregate !== undefined) checkBatchOptions(String(name), options);
  return checked({
    name: name as string,
    options,
    takesContext: true,
    run: run as StoredDefinition["run"],
    params,
    input,
    batch,
    aggregate,
  });
}

type Untyped = Partial<TaskDefinition<never, unknown>> & {
  readonly input?: InputSchema;
  readonly batch?: BatchTaskOptions;
  readonly aggregate?: AggregateOptions<never>;
};

function checked(definition: StoredDefinition): StoredDefinition {
  const { name, run, params, takesContext } = definition;
  const takesMany = definition.batch !== undefined || definition.aggregate !== undefined;
  if (typeof name !== "string" || name === "")
    throw new TaskDefinitionError("", "a task needs a name: it is what other programs call it by, so none is made up");
  if (typeof run !== "function") throw new TaskDefinitionError(name, `the task ${name} has no function to run`);
  checkOptionNames(name, definition.options);
  if (params && new Set(params).size !== params.length)
    throw new TaskDefinitionError(name, `the task ${name} names a parameter twice in params`);
  const declared = run.length - (takesContext ? 1 : 0);
  if (params && !takesMany && params.length < declared)
    throw new TaskDefinitionError(name, `the task ${name} takes ${declared} arguments but names ${params.length} in params`);
  return definition;
}

/** @throws TaskDefinitionError for an option that does not exist. Also used for annotations. */
export function checkOptionNames(task: string, options: object): void {
  for (const option of Object.keys(options)) {
    if (OPTION_NAMES.has(option)) continue;
    const why = Object.hasOwn(POINTLESS, option) ? POINTLESS[option] : undefined;
    throw new TaskDefinitionError(
      task,
      `"${option}" is not an option of a task (${task})${why ? `: ${why}` : `.${didYouMean(option, OPTION_NAMES)}`}`,
    );
  }
}
