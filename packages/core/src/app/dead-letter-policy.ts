/** Which messages of a task are kept as dead letters when it ends for good, and where else they are told of. Pure. */
import { DEAD_LETTER_REASONS, type DeadLetterReason } from "../brokers/broker.ts";
import { isPlain, NotAccepted } from "./setting-kinds.ts";

/**
 * `true`: also what failed for good. `false`: only what could not be run (poison, undecodable, unknown task), which is always
 * kept. Without either: that and what the task rejected.
 */
export type DeadLetterInput = boolean | DeadLetterOptions;

export interface DeadLetterOptions {
  /** Reasons besides those that always count. Default: failed, retriesExhausted and rejected. */
  readonly on?: readonly DeadLetterReason[];
  /** Publishes the message to this queue too, with the header `lovage_dead`, in the step that ends it. */
  readonly queue?: string;
  /** What is published to `queue` is this task, called with the arguments of the message and, last, the error's text. */
  readonly task?: string;
}

export interface DeadLetterPolicy {
  readonly on: ReadonlySet<DeadLetterReason>;
  readonly queue: string | undefined;
  readonly task: string | undefined;
}

export const DEAD_LETTER_ACCEPTED = `true, false, or an object of \`on\` (a list of ${DEAD_LETTER_REASONS.join(", ")}), \`queue\` and \`task\``;

const ALWAYS: readonly DeadLetterReason[] = ["poison", "undecodable", "unknownTask"];
const FAILURES: readonly DeadLetterReason[] = ["failed", "retriesExhausted", "rejected"];

/** @throws NotAccepted */
export function readDeadLetterPolicy(value: unknown): DeadLetterPolicy {
  if (value === undefined || value === null) return policy(["rejected"]);
  if (value === true) return policy(FAILURES);
  if (value === false) return policy([]);
  if (!isPlain(value)) throw new NotAccepted();
  const { on = FAILURES, queue, task, ...rest } = value;
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) throw new NotAccepted(`"${unknown}" is not one of on, queue and task`);
  if (!Array.isArray(on)) throw new NotAccepted("`on` is not a list");
  const strange: unknown = on.find((reason) => !(DEAD_LETTER_REASONS as readonly unknown[]).includes(reason));
  if (strange !== undefined) throw new NotAccepted(`${JSON.stringify(strange)} in \`on\` is not a reason`);
  for (const [name, given] of Object.entries({ queue, task }))
    if (given !== undefined && (typeof given !== "string" || given === "")) throw new NotAccepted(`\`${name}\` is not a name`);
  if (task !== undefined && queue === undefined) throw new NotAccepted("`task` needs the `queue` it is sent to");
  return policy(on as readonly DeadLetterReason[], queue as string | undefined, task as string | undefined); // checked above
}

function policy(on: readonly DeadLetterReason[], queue?: string, task?: string): DeadLetterPolicy {
  return { on: new Set([...ALWAYS, ...on]), queue, task };
}
