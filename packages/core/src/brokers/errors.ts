/**
 * What a broker can throw, whichever driver it is. A caller branches on the class or on `code`.
 */
import { LovageError } from "../shared/errors.ts";
import type { PublishFate, QueueDepth } from "./broker.ts";

/** The broker cannot be reached, or dropped the connection. `cause` is the client library's own error. */
export class BrokerUnavailableError extends LovageError {
  readonly code = "BROKER_UNAVAILABLE";
  override readonly transient = true;
  /** Without credentials, e.g. `redis://127.0.0.1:6379/0`. */
  readonly location: string;
  /** It was tried as often as the settings allow: whoever consumes should end. */
  readonly gaveUp: boolean;

  constructor(location: string, cause?: unknown, options: { readonly gaveUp?: boolean } = {}) {
    super(`cannot reach the broker at ${location}`, { cause });
    this.location = location;
    this.gaveUp = options.gaveUp ?? false;
  }
}

/**
 * Not every message of a publish is known to be held by the broker. `fates` tells for each, in the order given:
 * `held` is safe, `refused` was not taken and may be published again, `unknown` was sent but never answered.
 */
export class PublishError extends LovageError {
  readonly code = "PUBLISH_FAILED";
  override readonly transient: boolean;
  readonly fates: readonly PublishFate[];

  constructor(location: string, fates: readonly PublishFate[], cause: unknown) {
    super(`only ${count(fates)} messages are known to be held by ${location}: ${reason(cause)}`, { cause });
    this.fates = fates;
    this.transient = !(cause instanceof LovageError) || cause.transient;
  }
}

/** The broker answered, and said no: wrong password, out of memory, read-only replica, too old, not a broker at all. */
export class BrokerRefusedError extends LovageError {
  readonly code = "BROKER_REFUSED";
  override readonly transient: boolean;
  readonly location: string;
  /** What the broker said, in its own words where it said any. */
  readonly answer: string;

  constructor(location: string, answer: string, options: { readonly transient?: boolean; readonly cause?: unknown } = {}) {
    super(`the broker at ${location} refused: ${answer}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.location = location;
    this.answer = answer;
    this.transient = options.transient ?? false;
  }
}

/**
 * The broker's memory is full, so that it takes no more messages; what it holds can still be taken and settled. `depths` tells how
 * much waits in the queues that were published to: workers that are too few, or stopped, are the usual reason.
 */
export class BrokerOutOfMemoryError extends LovageError {
  readonly code = "BROKER_OUT_OF_MEMORY";
  override readonly transient = true;
  readonly location: string;
  readonly depths: readonly QueueDepth[];

  constructor(location: string, depths: readonly QueueDepth[], cause?: unknown) {
    const waiting = depths.map(({ queue, ready, parked }) => `${queue}: ${ready} ready${parked > 0 ? `, ${parked} parked` : ""}`);
    super(`the broker at ${location} is out of memory${waiting.length > 0 ? ` (${waiting.join("; ")})` : ""}`, { cause });
    this.location = location;
    this.depths = depths;
  }
}

/** The caller's deadline passed before the broker answered. */
export class BrokerTimeoutError extends LovageError {
  readonly code = "BROKER_TIMEOUT";
  override readonly transient = true;

  constructor(location: string, what: string, cause?: unknown) {
    super(`the broker at ${location} did not answer in time: ${what}`, cause === undefined ? undefined : { cause });
  }
}

function count(fates: readonly PublishFate[]): string {
  const of = (fate: PublishFate): number => fates.filter((one) => one === fate).length;
  return `${of("held")} of ${fates.length} (${of("refused")} refused, ${of("unknown")} unknown)`;
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
