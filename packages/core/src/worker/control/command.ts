/** What a command of remote control is. */
import type { ReceivedControlRequest } from "../../protocol/control.ts";
import type { ReceivedTask } from "../../protocol/task-message.ts";
import type { LamportClock } from "../../shared/lamport.ts";
import type { Logger } from "../../shared/log.ts";
import type { Termination } from "../termination.ts";

/** The worker as commands see it. */
export interface ControlledNode {
  /** `celery@host`. */
  readonly name: string;
  readonly lamport: LamportClock;
  readonly logger: Logger;
  /** Does not let run what bears these marks, now and later. */
  revoke(marks: readonly string[], isKept: boolean): void;
  /** Ends what runs or waits under these marks. Returns what was there. */
  terminate(marks: ReadonlySet<string>, how: Termination): readonly ReceivedTask[];
  /** Stores REVOKED for tasks that have not ended. */
  storeRevoked(ids: readonly string[]): Promise<void>;
  revokedMarks(): Iterable<string>;
  /** Starts of a task per second in this worker; 0 for no limit. False for a task that is not here. */
  setRate(task: string, perSecond: number): boolean;
  /** Limits for all workers were set by hand. */
  limitsChanged(): void;
  shutdown(): void;
  quiet(): void;
  resume(): void;
}

export interface Command {
  /** Done although the sender's time for it is over: the wish stands. */
  readonly isLasting?: boolean;
  /** What is answered; `NO_ANSWER` for nothing. Celery's handlers take arguments that they do not know, and so do these. */
  run(node: ControlledNode, args: Arguments, request: ReceivedControlRequest): unknown;
}

export type Arguments = Readonly<Record<string, unknown>>;

export const NO_ANSWER = Symbol("no answer");

/** Answered as `{"error": repr}`, as an exception of Celery's handlers is. */
export class CommandError extends Error {
  readonly type: "TypeError" | "ValueError" | "LookupError";

  constructor(type: CommandError["type"], message: string) {
    super(message);
    this.type = type;
  }
}
