/**
 * What becomes of a message whose task no code here knows: most likely a deploy is under way and a newer worker will
 * know it. So it is put aside for a while that grows, and is dead-lettered once `ttlMs` has passed since it was first
 * seen; it is never discarded. The time of the first sight travels in a header of the message.
 */
import type { Message } from "../protocol/message.ts";
import type { ReceivedTask } from "../protocol/task-message.ts";

/** Milliseconds since 1970, by the broker's clock. */
const FIRST_SEEN_HEADER = "lovage_unknown_since";

const SHORTEST_MS = 1000;
const LONGEST_MS = 60_000;

export type UnknownTaskStep =
  | { readonly kind: "park"; readonly dueAt: number; readonly message: Message }
  | { readonly kind: "deadLetter"; readonly firstSeenAt: number };

/** Pure. The wait doubles: each is as long as all before it, from one second to a minute. */
export function planUnknownTask(message: Message, now: number, ttlMs: number): UnknownTaskStep {
  const header = message.headers[FIRST_SEEN_HEADER];
  const firstSeenAt = typeof header === "number" && header <= now ? header : now;
  const waitedMs = now - firstSeenAt;
  if (waitedMs >= ttlMs) return { kind: "deadLetter", firstSeenAt };
  const waitMs = Math.min(Math.max(waitedMs, SHORTEST_MS), LONGEST_MS, ttlMs - waitedMs);
  return {
    kind: "park",
    dueAt: now + waitMs,
    message: header === firstSeenAt ? message : { ...message, headers: { ...message.headers, [FIRST_SEEN_HEADER]: firstSeenAt } },
  };
}

/** Headers that a retry adds, so that the time in which no worker knew its task does not count a second time. */
export function knownAgain(received: Pick<ReceivedTask, "headers">): Readonly<Record<string, null>> {
  return FIRST_SEEN_HEADER in received.headers ? { [FIRST_SEEN_HEADER]: null } : {};
}
