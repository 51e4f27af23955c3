/** A run that has ended, and the rules by which its worker settles. */
import type { DeadLetterPolicy } from "../app/dead-letter-policy.ts";
import type { Iterated } from "../app/iteration.ts";
import type { ResolvedTaskOptions } from "../app/task-options.ts";
import type { Delivery } from "../brokers/broker.ts";
import type { MessageCodec, ReceivedTask } from "../protocol/task-message.ts";
import type { WorkflowRules } from "./workflow.ts";

/** A run that has ended, or one that will not begin. */
export interface EndedRun {
  readonly received: ReceivedTask;
  readonly delivery: Delivery;
  /** Acknowledged before it ran: there is no loan to end. */
  readonly isAcked: boolean;
  readonly options: ResolvedTaskOptions;
  /** Result tuples of the tasks that it sent. */
  readonly children: readonly unknown[];
  /** How far its iterations have come; undefined when it has none. */
  readonly iterated?: Iterated | undefined;
}

/** What is the same for all tasks of a worker. */
export interface SettlementRules {
  /** `celery@host`. */
  readonly worker: string;
  /** False without a result backend. */
  readonly keepsResults: boolean;
  /** False where the broker has no place for them: such messages are acknowledged. */
  readonly keepsDeadLetters: boolean;
  readonly resultSerializer: string;
  readonly resultExtended: boolean;
  /** For tasks that say nothing else; undefined keeps results for ever. */
  readonly resultExpiresMs: number | undefined;
  readonly codec: MessageCodec;
  /** At so many losses a message is dead-lettered. */
  readonly maxDeliveries: number;
  /** The policy of a queue, for tasks that have none of their own and for messages whose task is not known here. */
  deadLetterOf(queue: string): DeadLetterPolicy;
  /** undefined: nothing follows from a task. */
  readonly workflows?: WorkflowRules | undefined;
}

/** It has been lost as often as a message may be, this time included: it kills what runs it. */
export function isPoison({ delivery }: EndedRun, { maxDeliveries }: SettlementRules): boolean {
  return delivery.losses + 1 >= maxDeliveries;
}

/** The task's own, else its queue's. */
export function policyOf({ options, delivery }: Pick<EndedRun, "options" | "delivery">, rules: SettlementRules): DeadLetterPolicy {
  return options.deadLetter ?? rules.deadLetterOf(delivery.queue);
}
