/** What an app wants to happen around its worker: open database pools before the first task, close them after the last. */
export type WorkerHook = () => unknown;
export type WorkerHookName = "workerStart" | "workerStop" | "childStart" | "childStop";

export class WorkerHooks {
  readonly #hooks: Readonly<Record<WorkerHookName, WorkerHook[]>> = { workerStart: [], workerStop: [], childStart: [], childStop: [] };

  add(name: WorkerHookName, hook: WorkerHook): void {
    this.#hooks[name].push(hook);
  }

  /** One after the other, in the order they were added; stop hooks in the reverse order. Rejects with the first error, after all have run. */
  async run(name: WorkerHookName): Promise<void> {
    const hooks = name.endsWith("Stop") ? this.#hooks[name].toReversed() : [...this.#hooks[name]];
    const errors: unknown[] = [];
    for (const hook of hooks) {
      try {
        await hook();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}
