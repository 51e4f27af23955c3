/** Small readings of what is found of a workflow. Pure. */
import { readResultTuple, type ResultTuple } from "../../canvas/result-tuple.ts";
import { readSignature, shapeOf } from "../../canvas/signature-data.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { WireException } from "../../protocol/exception.ts";
import { pythonRepr } from "../../protocol/python-repr.ts";
import type { SignatureData } from "../../protocol/signature.ts";
import type { GroupLook } from "../../results/groups.ts";
import type { Found } from "./find-messages.ts";
import type { WorkflowNode, WorkflowProblem } from "./node.ts";

export function groupMembersOf(header: SignatureData): readonly SignatureData[] {
  const shape = shapeOf(header);
  return shape.kind === "group" ? shape.members : [header];
}

/** As the parts have told it, else as a message that waits carries it. */
export function bodyOf(look: GroupLook | undefined, found: Found): SignatureData | undefined {
  if (look !== undefined && look.body !== "") return readSignature(JSON.parse(look.body));
  for (const { received } of found.messages) {
    const { chord } = received.body().embed;
    if (chord !== null) return chord;
  }
  return undefined;
}

export function tupleOf(value: unknown): readonly ResultTuple[] {
  try {
    return [readResultTuple(value)];
  } catch (error) {
    if (error instanceof ProtocolError) return [];
    throw error;
  }
}

export function errorLine({ type, args }: WireException): string {
  return `${type}(${args.map((arg) => pythonRepr(arg)).join(", ")})`.replaceAll(/\s+/g, " ").slice(0, 300);
}

export function problemOf(node: WorkflowNode): readonly WorkflowProblem[] {
  const { id, where, kind } = node;
  if (kind !== "task" || where === undefined) return [];
  if (where.kind === "dead")
    return [
      {
        id,
        problem: `is a dead letter of ${where.queue} (${where.reason})`,
        remedies: [`retry ${id}`, `complete ${id} --value <json>`, `fail ${id} --reason <text>`],
      },
    ];
  if (where.kind === "gone" && (node.role === "member" || node.role === "root"))
    return [
      {
        id,
        problem: "is gone: it has no result and no message",
        remedies: [`complete ${id} --value <json>`, `fail ${id} --reason <text>`],
      },
    ];
  return [];
}
