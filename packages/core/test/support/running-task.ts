/** A task's context without a worker: for what is done inside of a task. */
import type { Lovage } from "../../src/app/app.ts";
import { RunningTask } from "../../src/app/running-task.ts";
import type { AnyTask } from "../../src/app/task.ts";
import type { TaskRequest } from "../../src/app/task-context.ts";

export function runningTask(app: Lovage, task: AnyTask, facts: Partial<TaskRequest> = {}): RunningTask {
  const request = {
    id: "parent-1",
    task: task.name,
    rootId: "root-1",
    retries: 0,
    isEager: false,
    delivery: { priority: 7 },
    ...facts,
  } as TaskRequest;
  return new RunningTask(request, {
    app,
    options: task.options,
    clock: app.clock,
    random: () => 0,
    signal: () => new AbortController().signal,
    storeState: async () => {},
  });
}
