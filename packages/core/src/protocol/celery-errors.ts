/** Errors that Celery and Lovage share: the same names, modules and arguments on both sides. */
import { LovageError } from "../shared/errors.ts";
import type { WireException, WireNamed } from "./exception.ts";

abstract class CeleryError extends LovageError implements WireNamed {
  readonly wire: WireException;

  constructor(message: string, wire: WireException) {
    super(message);
    this.wire = wire;
  }
}

const CELERY = "celery.exceptions";
const BILLIARD = "billiard.exceptions";

/** No task of that name is known to the worker. */
export class NotRegistered extends CeleryError {
  readonly code = "NOT_REGISTERED";
  constructor(task: string) {
    super(`no task named ${task} is known here`, { type: "NotRegistered", module: CELERY, args: [task] });
  }
}

/** The task was revoked before it ran, was terminated, or had expired. */
export class TaskRevokedError extends CeleryError {
  readonly code = "TASK_REVOKED";
  readonly how: string;
  constructor(how: string) {
    super(`the task was ${how}`, { type: "TaskRevokedError", module: CELERY, args: [how] });
    this.how = how;
  }
}

export class TimeLimitExceeded extends CeleryError {
  readonly code = "TIME_LIMIT_EXCEEDED";
  readonly seconds: number;
  constructor(seconds: number) {
    super(`the task ran beyond its hard time limit of ${seconds} s`, { type: "TimeLimitExceeded", module: BILLIARD, args: [seconds] });
    this.seconds = seconds;
  }
}

export class SoftTimeLimitExceeded extends CeleryError {
  readonly code = "SOFT_TIME_LIMIT_EXCEEDED";
  readonly seconds: number | undefined;
  constructor(seconds?: number) {
    super(`the task ran beyond its soft time limit${seconds === undefined ? "" : ` of ${seconds} s`}`, {
      type: "SoftTimeLimitExceeded",
      module: BILLIARD,
      args: seconds === undefined ? [] : [seconds],
    });
    this.seconds = seconds;
  }
}

export class WorkerLostError extends CeleryError {
  readonly code = "WORKER_LOST";
  constructor(text: string) {
    super(text, { type: "WorkerLostError", module: BILLIARD, args: [text] });
  }
}

export class MaxRetriesExceededError extends CeleryError {
  readonly code = "MAX_RETRIES_EXCEEDED";
  constructor(text: string) {
    super(text, { type: "MaxRetriesExceededError", module: CELERY, args: [text] });
  }
}

export class ChordError extends CeleryError {
  readonly code = "CHORD";
  constructor(text: string) {
    super(text, { type: "ChordError", module: CELERY, args: [text] });
  }
}

export class Reject extends CeleryError {
  readonly code = "REJECTED";
  constructor(reason: string, requeue: boolean) {
    super(`the task rejected its message: ${reason}`, { type: "Reject", module: CELERY, args: [reason, requeue] });
  }
}

/** The class of ours for what a document names, if there is one; with the document's own arguments. */
export function celeryError(wire: WireException): Error | undefined {
  if (wire.module !== CELERY && wire.module !== BILLIARD) return undefined; // an application's class of the same name
  const error = instanceFor(wire);
  if (error !== undefined) Object.defineProperty(error, "wire", { value: wire, enumerable: true });
  return error;
}

function instanceFor({ type, args }: WireException): CeleryError | undefined {
  const text = typeof args[0] === "string" ? args[0] : "";
  const number = Number(args[0]);
  switch (type) {
    case "NotRegistered":
      return new NotRegistered(text);
    case "TaskRevokedError":
      return new TaskRevokedError(text);
    case "TimeLimitExceeded":
      return new TimeLimitExceeded(number);
    case "SoftTimeLimitExceeded":
      return new SoftTimeLimitExceeded(args.length === 0 || Number.isNaN(number) ? undefined : number);
    case "WorkerLostError":
      return new WorkerLostError(text);
    case "MaxRetriesExceededError":
      return new MaxRetriesExceededError(text);
    case "ChordError":
      return new ChordError(text);
    case "Reject":
      return new Reject(text, args[1] === true);
    default:
      return undefined;
  }
}
