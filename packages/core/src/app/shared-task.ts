/** Tasks of libraries, which do not know the app they will run under: every app of the process has them. */
import { ConfigurationError, TaskDefinitionError } from "./errors.ts";
import { currentTask, processWide } from "./process-wide.ts";
import type { Lovage } from "./app.ts";
import type { AsyncResult } from "./async-result.ts";
import type { CallOptions, Kwargs, TaskCall } from "./call-options.ts";
import {
  storeDefinition,
  type CallerArgs,
  type AggregateTaskDefinition,
  type BatchTaskDefinition,
  type CheckedBatchTaskDefinition,
  type CheckedTaskDefinition,
  type InputSchema,
  type TaskDefinition,
} from "./task-definition.ts";
import type { LeadingArgs, Task } from "./task.ts";
import type { TaskOptions } from "./task-options.ts";

/** Calls go through the app of the running task, else the current one, at the time of the call. */
export class SharedTask<Args extends readonly unknown[] = readonly unknown[], Result = unknown> {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  delay(...args: Args): Promise<AsyncResult<Result>> {
    return this.in(appForShared(this.name)).delay(...args);
  }

  applyAsync(args: LeadingArgs<Args>, kwargs: Kwargs = {}, options?: CallOptions): Promise<AsyncResult<Result>> {
    return this.in(appForShared(this.name)).applyAsync(args, kwargs, options);
  }

  call(...args: Args): TaskCall<Result> {
    return { name: this.name, args };
  }

  map(list: readonly Args[], options?: CallOptions): Promise<AsyncResult<Result>[]> {
    return this.in(appForShared(this.name)).map(list, options);
  }

  /** The same task bound to one app. */
  in(app: Lovage): Task<Args, Result> {
    return app.tasks.get(this.name) as unknown as Task<Args, Result>; // the registry forgets types; this name was registered with these
  }
}

export function sharedTask<Args extends readonly unknown[], Result>(
  name: string,
  run: (...args: Args) => Result,
): SharedTask<Args, Awaited<Result>>;
export function sharedTask<Args extends readonly unknown[], Result>(
  name: string,
  options: TaskOptions<Args>,
  run: (...args: Args) => Result,
): SharedTask<Args, Awaited<Result>>;
export function sharedTask<const Schema extends InputSchema, Result>(
  definition: CheckedBatchTaskDefinition<Schema, Result>,
): SharedTask<CallerArgs<Schema>, Result>;
export function sharedTask<Args extends readonly unknown[], Result>(
  definition: AggregateTaskDefinition<Args, Result>,
): SharedTask<Args, Result>;
export function sharedTask<Args extends readonly unknown[], Result>(
  definition: BatchTaskDefinition<Args, Result>,
): SharedTask<Args, Result>;
export function sharedTask<const Schema extends InputSchema, Result>(
  definition: CheckedTaskDefinition<Schema, Result>,
): SharedTask<CallerArgs<Schema>, Awaited<Result>>;
export function sharedTask<Args extends readonly unknown[], Result>(
  definition: TaskDefinition<Args, Result>,
): SharedTask<Args, Awaited<Result>>;
export function sharedTask(first: unknown, second?: unknown, third?: unknown): SharedTask {
  const definition = storeDefinition(first, second, third);
  const earlier = processWide.sharedTasks.get(definition.name);
  // The same module may be loaded twice, by two loaders: only a different function is a mistake.
  if (earlier && String(earlier.run) !== String(definition.run)) {
    throw new TaskDefinitionError(definition.name, `a shared task named ${definition.name} is defined already`);
  }
  processWide.sharedTasks.set(definition.name, definition);
  return new SharedTask(definition.name);
}

function appForShared(name: string): Lovage {
  const app = currentTask()?.app ?? processWide.currentApp;
  if (!app) throw new ConfigurationError(`the shared task ${name} was called, but no app has been made: new Lovage("name") comes first`);
  return app;
}
