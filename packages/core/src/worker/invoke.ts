/** Calls a task's function with the arguments of its message, after the hook that comes before it. May throw, at once or later. */
import type { AnyTask } from "../app/task.ts";
import type { TaskContext } from "../app/task-context.ts";

export function invokeTask(
  task: AnyTask,
  context: TaskContext,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
): unknown {
  const { beforeStart } = task.options.hooks;
  if (beforeStart === undefined) return task.invoke(context, args, kwargs);
  return Promise.resolve(beforeStart(context)).then(() => task.invoke(context, args, kwargs));
}
