/** Commands that tell what is revoked: an operator, and a Python worker that starts (celery-protocol.md 12.1). */
import { taskMark, taskOfMark } from "../../app/revocation-marks.ts";
import type { Command, ControlledNode } from "./command.ts";

/** More are not sent in one message. The youngest count most. */
const TOLD = 10_000;
const HEARD = 50_000;

export const revoked: Command = { run: (node) => newestIds(node) };

/** Sent by a Python worker that starts: it is told what is revoked, and tells what it knows. */
export const hello: Command = {
  run(node, { from_node: from, revoked: theirs }) {
    if (from === node.name) return null;
    const ids = typeof theirs === "object" && theirs !== null ? (Array.isArray(theirs) ? (theirs as unknown[]) : Object.keys(theirs)) : [];
    const marks = ids
      .slice(0, HEARD)
      .filter((id): id is string => typeof id === "string")
      .map(taskMark);
    if (marks.length > 0) node.revoke(marks, true);
    // A list of ids, which the receiver dates itself: its map of monotonic times means nothing between machines.
    return { revoked: newestIds(node), clock: node.lamport.forward() };
  },
};

function newestIds(node: ControlledNode): string[] {
  return [...node.revokedMarks()].flatMap((mark) => taskOfMark(mark) ?? []).slice(-TOLD);
}
