/**
 * What can go wrong with a Redis, in the store's own words; brokers and result backends translate it to theirs.
 */
import { LovageError } from "../../shared/errors.ts";

/** A URL or an option that cannot be used. */
export class RedisConfigurationError extends LovageError {
  readonly code = "REDIS_CONFIGURATION";
}

/** The connection is not there, or broke before the answer came: whether the command was executed is unknown when `sent`. */
export class RedisGoneError extends LovageError {
  readonly code = "REDIS_GONE";
  override readonly transient = true;
  readonly sent: boolean;

  constructor(message: string, options: { readonly sent: boolean; readonly cause?: unknown }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.sent = options.sent;
  }
}

/** So many tries to connect in a row failed that nobody goes on trying. */
export class RedisGaveUpError extends RedisGoneError {
  constructor(location: string, tries: number, cause: unknown) {
    super(`gave up connecting to ${location} after ${tries} failed tries`, { sent: false, cause });
  }
}

/** We ended it: whoever still waits for a connection will get none. */
export class RedisClosedError extends LovageError {
  readonly code = "REDIS_CLOSED";
}

/** Redis answered with an error. A script that answers so has written nothing. */
export class RedisAnswerError extends LovageError {
  readonly code = "REDIS_ANSWER";
  override readonly transient: boolean;
  /** Redis's own first word, e.g. `OOM`, `WRONGTYPE`, `READONLY`. */
  readonly word: string;

  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    const word = /^-?([A-Z]+)\b/.exec(message)?.[1] ?? "ERR";
    // Before Redis 7 a script's error begins with ERR, and says later what raised it: `… @user_script: 1: -READONLY You can't …`.
    this.word = word === "ERR" ? (/: -([A-Z]+) /.exec(message)?.[1] ?? word) : word;
    this.transient = PASSING.has(this.word);
  }

  /** It is starting, or another is the master: nothing was done, and asking it again is of no use. */
  get isWrongServer(): boolean {
    return WRONG_SERVER.has(this.word);
  }
}

const WRONG_SERVER: ReadonlySet<string> = new Set(["READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED"]);

/** The server cannot be used as it is: too old, or it does not let us in. */
export class RedisRefusedError extends LovageError {
  readonly code = "REDIS_REFUSED";
}

/** Answers that another try may not get: a full, starting, busy or just demoted server. */
const PASSING: ReadonlySet<string> = new Set([
  "OOM",
  "LOADING",
  "BUSY",
  "READONLY",
  "MASTERDOWN",
  "UNBLOCKED",
  "MISCONF",
  "NOREPLICAS",
  "TRYAGAIN",
  "CLUSTERDOWN",
]);
