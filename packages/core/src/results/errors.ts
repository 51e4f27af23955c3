/**
 * What a result backend can throw, whichever driver it is.
 */
import { LovageError } from "../shared/errors.ts";

/** The result backend cannot be reached, dropped the connection, or did not answer before the deadline. */
export class BackendUnavailableError extends LovageError {
  readonly code = "BACKEND_UNAVAILABLE";
  override readonly transient = true;
  /** Without credentials, e.g. `redis://127.0.0.1:6379/1`. */
  readonly location: string;

  constructor(location: string, cause?: unknown) {
    super(`cannot reach the result backend at ${location}`, { cause });
    this.location = location;
  }
}

/** The result backend answered, and said no: wrong password, out of memory, a document too large. */
export class BackendRefusedError extends LovageError {
  readonly code = "BACKEND_REFUSED";
  override readonly transient: boolean;
  readonly location: string;
  /** What the backend said, in its own words where it said any. */
  readonly answer: string;

  constructor(location: string, answer: string, options: { readonly transient?: boolean; readonly cause?: unknown } = {}) {
    super(`the result backend at ${location} refused: ${answer}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.location = location;
    this.answer = answer;
    this.transient = options.transient ?? false;
  }
}
