/** What goes wrong between a user's code and the broker: configuration, definition of tasks, calling them, waiting for them. */
import { LovageError } from "../shared/errors.ts";

/** The configuration cannot be used as it stands. Start-up code should print the message and exit with 78 (EX_CONFIG). */
export class ConfigurationError extends LovageError {
  readonly code: string = "CONFIGURATION";
}

/** One setting has a name that is not known, or a value that is not accepted. */
export class SettingError extends ConfigurationError {
  override readonly code = "SETTING";
  /** As the user wrote it. */
  readonly setting: string;
  /** Where it was written: `the environment`, a file's path, `the code`. */
  readonly origin: string;

  constructor(setting: string, origin: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.setting = setting;
    this.origin = origin;
  }
}

/** A module of the user's could not be loaded: a syntax error, a missing import, or an error thrown while it ran. */
export class ModuleLoadError extends LovageError {
  readonly code = "MODULE_LOAD";
  readonly file: string;

  constructor(file: string, cause: unknown) {
    super(`cannot load ${file}: ${cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)}`, { cause });
    this.file = file;
  }
}

/** A task is defined wrongly: no name, a name that is taken, an unknown option, a value that is not accepted. */
export class TaskDefinitionError extends LovageError {
  readonly code: string = "TASK_DEFINITION";
  readonly task: string;

  constructor(task: string, message: string) {
    super(message);
    this.task = task;
  }
}

/** The arguments of a message do not fit the task: an unknown name, one given twice, or refused by its `input` schema. Never retried. */
export class TaskArgumentsError extends LovageError {
  readonly code = "TASK_ARGUMENTS";
  readonly task: string;
  /** What was wrong, one entry each, without the values. */
  readonly problems: readonly string[];

  constructor(task: string, problems: readonly string[]) {
    super(`arguments of ${task} are not accepted: ${problems.join("; ")}`);
    this.task = task;
    this.problems = problems;
  }
}

/** A call was refused before anything was sent: an option with a value that is not accepted. */
export class CallError extends LovageError {
  readonly code = "CALL";
  readonly task: string;

  constructor(task: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.task = task;
  }
}

/** The message of a call would be larger than `taskMaxBytes` allows. Nothing was sent. */
export class PayloadTooLargeError extends LovageError {
  readonly code = "PAYLOAD_TOO_LARGE";
  readonly task: string;
  /** Of the body, as it would have been sent. */
  readonly bytes: number;
  readonly maxBytes: number;

  constructor(task: string, bytes: number, maxBytes: number) {
    super(
      `the arguments of a call of ${task} take ${bytes} bytes, and taskMaxBytes allows ${maxBytes}: ` +
        "store them elsewhere and pass their key, compress them (taskCompression), or raise the limit",
    );
    this.task = task;
    this.bytes = bytes;
    this.maxBytes = maxBytes;
  }
}

/** Whether the broker holds a message: `unknown` was sent, but no answer came. */
export type SendFate = "held" | "refused" | "unknown";

/**
 * Some of the messages of one call did not reach the broker for certain. `calls` tells what became of each; those
 * whose fate is `unknown` may run, those that were `refused` will not.
 */
export class PublishFailedError extends LovageError {
  readonly code: string = "PUBLISH_FAILED";
  override readonly transient: boolean;
  readonly calls: readonly SentCall[];

  constructor(message: string, calls: readonly SentCall[], options: ErrorOptions & { readonly transient: boolean }) {
    super(message, options);
    this.calls = calls;
    this.transient = options.transient;
  }
}

export interface SentCall {
  readonly taskId: string;
  readonly task: string;
  readonly fate: SendFate;
}

/** The broker did not take the message within `publishTimeout`. */
export class PublishTimeoutError extends PublishFailedError {
  override readonly code = "PUBLISH_TIMEOUT";
}

/** Nothing can be done with this batch any more. `gone`: it never was, or has expired. */
export class BatchClosedError extends LovageError {
  readonly code = "BATCH_CLOSED";
  readonly batchId: string;
  readonly state: "gone" | "complete" | "cancelled";

  constructor(batchId: string, state: "gone" | "complete" | "cancelled") {
    super(
      state === "gone"
        ? `there is no batch ${batchId}: it never was, or has expired`
        : `batch ${batchId} is ${state} and takes no more members: add while one of its members runs, or before it is sealed`,
    );
    this.batchId = batchId;
    this.state = state;
  }
}

/** Nothing is known under this id: no result, no message in the queues that were looked through, no group and no batch. */
export class WorkflowUnknownError extends LovageError {
  readonly code = "WORKFLOW_UNKNOWN";
  readonly id: string;

  constructor(id: string) {
    super(`nothing is known of ${id}: it never was, its result has expired, or its message is in a queue that was not looked through`);
    this.id = id;
  }
}

/** A repair of a workflow that cannot be done, or would do harm. Nothing was changed. */
export class WorkflowRepairError extends LovageError {
  readonly code = "WORKFLOW_REPAIR";
  readonly id: string;

  constructor(id: string, why: string) {
    super(`${id} is left as it is: ${why}`);
    this.id = id;
  }
}

/** Why a task failed: somebody said so, with `workflow fail`. */
export class FailedByHandError extends LovageError {
  readonly code = "FAILED_BY_HAND";
}

/** What a task has sent is known once it has ended: `intermediate: true` shows what is known so far. */
export class IncompleteStreamError extends LovageError {
  readonly code = "INCOMPLETE_STREAM";
  readonly taskId: string;
  readonly state: string;

  constructor(taskId: string, state: string) {
    super(`task ${taskId} is ${state}: what it sends is known once it has ended (pass intermediate: true for what is known so far)`);
    this.taskId = taskId;
    this.state = state;
  }
}

/** Results are not kept, so there is nothing to wait for. */
export class ResultsDisabledError extends LovageError {
  readonly code = "RESULTS_DISABLED";

  constructor() {
    super(
      "results are not kept: no result backend is configured. Set CELERY_RESULT_BACKEND (resultBackend in code), for example redis://127.0.0.1:6379/1",
    );
  }
}

/** `get()` gave up. The task goes on; its state as last seen is in `state`. */
export class ResultTimeoutError extends LovageError {
  readonly code = "RESULT_TIMEOUT";
  override readonly transient = true;
  readonly taskId: string;
  /** The last state that was seen; `PENDING` means nothing is known: not started, expired, or never sent. */
  readonly state: string;
  readonly timeoutMs: number;

  constructor(taskId: string, timeoutMs: number, state: string) {
    super(
      `no result of task ${taskId} after ${timeoutMs} ms; its state is ${state}` +
        (state === "PENDING" ? " (not started yet, its result expired, or it was never sent)" : ""),
    );
    this.taskId = taskId;
    this.state = state;
    this.timeoutMs = timeoutMs;
  }
}

/** A task waited for another task's result, which can leave every slot of a worker waiting. Pass `disableSyncSubtasks: false` to do it all the same. */
export class WaitInsideTaskError extends LovageError {
  readonly code = "WAIT_INSIDE_TASK";

  constructor(taskId: string, inside: string) {
    super(
      `task ${inside} waits for the result of ${taskId}: workers whose slots all wait never finish. ` +
        "Let the second task be called by the first, or pass { disableSyncSubtasks: false } to get()",
    );
  }
}

/** What was asked needs a broker that has it: remote control needs fanout. */
export class UnsupportedByBrokerError extends LovageError {
  readonly code = "UNSUPPORTED_BY_BROKER";

  constructor(what: string, kind: string) {
    super(`${what} is not possible with the ${kind} broker`);
  }
}

/** The app is closed: it publishes and waits for nothing any more. */
export class AppClosedError extends LovageError {
  readonly code = "APP_CLOSED";

  constructor(name: string) {
    super(`the app ${name} is closed`);
  }
}
