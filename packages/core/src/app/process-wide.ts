/**
 * What there is once in a process, however many copies of this module were loaded (an app module loaded by one loader,
 * the command line by another, must see the same): the shared tasks, the current app, and the task that runs now.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Lovage } from "./app.ts";
import type { TaskContext } from "./task-context.ts";
import type { StoredDefinition } from "./task-definition.ts";

interface ProcessWide {
  readonly sharedTasks: Map<string, StoredDefinition>;
  currentApp: Lovage | undefined;
  readonly running: AsyncLocalStorage<TaskContext>;
}

/** The number changes when the shape does. */
const KEY = Symbol.for("lovage.processWide.1");
const holder = globalThis as { [KEY]?: ProcessWide };

export const processWide: ProcessWide = (holder[KEY] ??= {
  sharedTasks: new Map(),
  currentApp: undefined,
  running: new AsyncLocalStorage(),
});

/** The task that the calling code runs in, or undefined outside of tasks. */
export function currentTask(): TaskContext | undefined {
  return processWide.running.getStore();
}

/** Runs `body` so that `currentTask()` gives `ctx` everywhere inside, also after awaits. For workers. */
export function runAsTask<T>(ctx: TaskContext, body: () => T): T {
  return processWide.running.run(ctx, body);
}

/** The app that shared tasks use: that of the running task's worker, else the one made last, unless `setAsCurrent` said otherwise. */
export function currentApp(): Lovage | undefined {
  return processWide.currentApp;
}
