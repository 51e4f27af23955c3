/** A workflow as it is found: a tree of what is known of its parts. Plain data, for people, programs and pages. */
import type { BatchCounts } from "../batch.ts";
import type { Whereabouts } from "./find-messages.ts";

export interface WorkflowNode {
  readonly kind: "task" | "group" | "batch";
  readonly id: string;
  /** What it is to the node above: `next` step of a chain, `body` of a chord, `member`, `child` that a task sent, or a callback. */
  readonly role: NodeRole;
  /** Its place in its group or batch. */
  readonly place?: number | undefined;
  /** The task's name, where it is known. */
  readonly task?: string | undefined;
  /** Of a task its state, or WAITING when something must come before it; of a group or batch in one word. */
  readonly state: string;
  /** Of a task that has not ended, or is kept as a dead letter. */
  readonly where?: Whereabouts | undefined;
  readonly doneAt?: Date | undefined;
  readonly createdAt?: Date | undefined;
  /** One line. */
  readonly error?: string | undefined;
  readonly description?: string | undefined;
  /** Of a group or batch. */
  readonly counts?: BatchCounts | undefined;
  /** Of a batch, when its children are not shown: nothing is. */
  readonly parts: readonly WorkflowNode[];
  /** Members that are not among the parts. */
  readonly hidden?: number | undefined;
}

export type NodeRole = "root" | "member" | "body" | "next" | "child" | "callback" | "onSuccess" | "onComplete" | "onDeath";

export interface WorkflowView {
  /** What was asked for. */
  readonly id: string;
  readonly root: WorkflowNode;
  /** What keeps it from going on, each with what can be done. */
  readonly problems: readonly WorkflowProblem[];
  /** Not all messages of the broker were looked at: a task that was not found may be among the others. */
  readonly isPartial: boolean;
}

export interface WorkflowProblem {
  readonly id: string;
  readonly problem: string;
  /** Arguments of `lovage workflow`. */
  readonly remedies: readonly string[];
}

/** Every node, the root first. */
export function* eachNode(node: WorkflowNode): Generator<WorkflowNode, void> {
  yield node;
  for (const part of node.parts) yield* eachNode(part);
}
