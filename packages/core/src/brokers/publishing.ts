/** What goes into a broker, and what became of it. */
import type { Message } from "../protocol/message.ts";
import type { UniqueRule } from "../protocol/unique.ts";

export interface Outgoing {
  readonly message: Message;
  /** A named exchange, or "" for the queue that `routingKey` names. */
  readonly exchange: string;
  readonly routingKey: string;
  /** For `uniques.publish`, which takes the lock; `publish` does not look. */
  readonly unique?: UniqueRule | undefined;
}

export interface PublishOptions {
  /** Gives up waiting; what was written but not answered by then is reported as unknown. */
  readonly signal?: AbortSignal;
}

/** What became of one message of a publish that failed. `unknown`: sent, but the answer never came. */
export type PublishFate = "held" | "refused" | "unknown";
