/**
 * The root of every error that Lovage throws. Branch on `code` (stable API) or on the class, never on the message.
 * A message names what was wrong, where, and what to do; it never holds a password, a token or a task's arguments.
 */
export abstract class LovageError extends Error {
  /** Stable, upper case, e.g. `BROKER_UNAVAILABLE`. */
  abstract readonly code: string;
  /** True when the same call may work later, with nothing changed by the caller. */
  readonly transient: boolean = false;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The text of anything that was thrown, for a log line or a result document. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
