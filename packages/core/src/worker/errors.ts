/** Why a worker does not start. */
import { LovageError } from "../shared/errors.ts";

/** `stop()` was called before `start()` had resolved. */
export class WorkerStoppedWhileStarting extends LovageError {
  readonly code = "WORKER_STOPPED_WHILE_STARTING";

  constructor() {
    super("the worker was stopped before it had started");
  }
}

/** A thread or process of a pool loads the app's module, and that module starts a worker: without an end, if it were let. */
export class WorkerInPoolError extends LovageError {
  readonly code = "WORKER_IN_POOL";

  constructor(app: string) {
    super(
      `the module that makes the app ${app} also starts a worker, and the worker's pool loads it again in each thread or process. Put the app and its tasks in a module of their own, and give the worker that one (appModule)`,
    );
  }
}
