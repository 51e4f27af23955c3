/** How a thread or process of a pool can fail. */
import { errorText, LovageError } from "../../shared/errors.ts";

/** The thread or process that ran a task has ended. */
export class ChildLostError extends LovageError {
  readonly code = "CHILD_LOST";

  constructor(label: string, how: string, cause: unknown) {
    super(`${label} that ran the task was lost: ${how}${cause === undefined ? "" : `: ${errorText(cause)}`}`, { cause });
  }
}

/** A thread or process of a pool did not come up. */
export class ChildStartError extends LovageError {
  readonly code = "CHILD_START";
}
