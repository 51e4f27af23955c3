/**
 * Stores states of tasks that still run: STARTED, PROGRESS, custom ones. One batch is on the way at a time, so states
 * of a task are stored in the order in which they were told; of what was told meanwhile the last one wins.
 * A state is news, not the outcome: when it cannot be stored, that is logged and the task goes on.
 */
import type { ResultBackend, ResultWrite } from "../results/result-backend.ts";
import { errorText } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";

export class StateWriter {
  readonly #backend: ResultBackend;
  readonly #logger: Logger;
  readonly #signal: AbortSignal;
  #waiting = new Map<string, ResultWrite>();
  /** Resolves when all that waits now has been tried. */
  #next: Promise<void> | undefined;
  #underWay: Promise<void> = Promise.resolve();

  constructor(backend: ResultBackend, logger: Logger, signal: AbortSignal) {
    this.#backend = backend;
    this.#logger = logger;
    this.#signal = signal;
  }

  /** Resolves when it, or a later state of the same task, is stored or given up. Never rejects. */
  write(write: ResultWrite): Promise<void> {
    this.#waiting.set(write.taskId, write);
    this.#next ??= this.#underWay.then(() => turn()).then(() => this.#flush());
    return this.#next;
  }

  #flush(): Promise<void> {
    const writes = [...this.#waiting.values()];
    this.#waiting = new Map();
    this.#next = undefined;
    this.#underWay = this.#backend.store(writes, { signal: this.#signal }).catch((error: unknown) => {
      if (!this.#signal.aborted)
        this.#logger.warn({ err: error, tasks: writes.length }, `states of running tasks could not be stored: ${errorText(error)}`);
    });
    return this.#underWay;
  }
}

/** All that is told in one turn of the event loop goes in one batch. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
