/** The tasks of one app: its own, the shared ones, and Lovage's. */
import { didYouMean } from "../shared/suggest.ts";
import type { Lovage } from "./app.ts";
import { BUILT_IN_TASKS } from "./built-in-tasks.ts";
import { TaskDefinitionError } from "./errors.ts";
import { processWide } from "./process-wide.ts";
import { Task, type AnyTask } from "./task.ts";
import type { StoredDefinition } from "./task-definition.ts";

export class TaskRegistry {
  readonly #app: Lovage;
  readonly #tasks = new Map<string, AnyTask>();

  constructor(app: Lovage) {
    this.#app = app;
    for (const definition of BUILT_IN_TASKS) this.#tasks.set(definition.name, new Task(app, definition));
  }

  /** Shared tasks are bound to the app when they are first asked for, so it does not matter which came first. */
  get(name: string): AnyTask | undefined {
    const known = this.#tasks.get(name);
    if (known) return known;
    const shared = processWide.sharedTasks.get(name);
    return shared && this.#bind(shared);
  }

  /** In the order they were defined; Lovage's own first. */
  names(): string[] {
    return [...new Set([...this.#tasks.keys(), ...processWide.sharedTasks.keys()])];
  }

  /** Without those whose options are not accepted, which is said when a message of theirs comes. */
  *runnable(): Generator<AnyTask, void, undefined> {
    for (const name of this.names()) {
      const task = this.get(name);
      if (task !== undefined && hasOptions(task)) yield task;
    }
  }

  /** @throws TaskDefinitionError when the name is taken: two tasks of one name would be answered by either. */
  add(definition: StoredDefinition): AnyTask {
    if (this.#tasks.has(definition.name)) {
      throw new TaskDefinitionError(definition.name, `a task named ${definition.name} is defined already in the app ${this.#app.name}`);
    }
    return this.#bind(definition);
  }

  /** For messages about a task that is not here. */
  suggestion(name: string): string {
    return didYouMean(name, this.names());
  }

  #bind(definition: StoredDefinition): AnyTask {
    const task = new Task(this.#app, definition) as AnyTask;
    this.#tasks.set(definition.name, task);
    return task;
  }
}

function hasOptions(task: AnyTask): boolean {
  try {
    return task.options !== undefined;
  } catch {
    return false;
  }
}
