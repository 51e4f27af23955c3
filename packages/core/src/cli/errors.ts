/** What only the command line can get wrong. */
import { LovageError } from "../shared/errors.ts";

/** The command line cannot be understood, or asks for what this version does not have. */
export class UsageError extends LovageError {
  readonly code = "USAGE";
  /** What to do about it: a line of its own below the message. */
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/** `-A` names no module, or one without an app in it. */
export class AppNotFoundError extends LovageError {
  readonly code = "APP_NOT_FOUND";
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/** The user pressed Ctrl+C. */
export class InterruptedError extends LovageError {
  readonly code = "INTERRUPTED";

  constructor() {
    super("interrupted");
  }
}
