/** Draws a workflow as lines of text: a branch for each part, its state as a mark and a word, and where it is when it has not ended. */
import type { Whereabouts } from "../app/workflow/find-messages.ts";
import type { NodeRole, WorkflowNode, WorkflowView } from "../app/workflow/node.ts";
import { limitLabel } from "../brokers/limits.ts";
import type { Colors } from "./output.ts";

type Paint = (text: string) => string;

const ROLES: Readonly<Record<NodeRole, string>> = {
  root: "",
  member: "",
  child: "",
  next: "then ",
  body: "body ",
  callback: "callback ",
  onSuccess: "on success ",
  onComplete: "on complete ",
  onDeath: "on death ",
};

export function workflowLines({ root, problems, isPartial }: WorkflowView, colors: Colors): string[] {
  const lines = [...draw(root, "", "", colors)];
  if (problems.length > 0) {
    lines.push("");
    for (const { id, problem, remedies } of problems.slice(0, PROBLEMS)) {
      lines.push(`${colors.red("!")} ${id} ${problem}`);
      for (const remedy of remedies) lines.push(`    ${colors.dim("lovage workflow")} ${remedy}`);
    }
    if (problems.length > PROBLEMS) lines.push(`  … and ${problems.length - PROBLEMS} more`);
  }
  if (isPartial) lines.push("", "Not all messages were looked at: --messages looks at more, --queues at other queues.");
  return lines;
}

const PROBLEMS = 5;

function* draw(node: WorkflowNode, lead: string, below: string, colors: Colors): Generator<string, void> {
  yield `${colors.dim(lead)}${nodeLine(node, colors)}`;
  const hidden = node.hidden ?? 0;
  const branches = node.parts.length + (hidden > 0 ? 1 : 0);
  // What is not shown stands behind the members, and before what follows from them.
  const members = node.parts.filter(({ role }) => role === "member" || role === "child");
  const others = node.parts.filter((part) => !members.includes(part));
  let drawn = 0;
  const next = (): readonly [string, string] => (++drawn === branches ? [`${below}└─ `, `${below}   `] : [`${below}├─ `, `${below}│  `]);
  for (const part of members) yield* draw(part, ...next(), colors);
  if (hidden > 0) yield `${colors.dim(next()[0])}${colors.dim(`… ${hidden} more that are not shown`)}`;
  for (const part of others) yield* draw(part, ...next(), colors);
}

function nodeLine(node: WorkflowNode, colors: Colors): string {
  const { kind, id, role, place, task, state, description, doneAt, error, where } = node;
  const paint = paintOf(state, colors);
  const name = kind === "task" ? (task ?? "task") : kind;
  const words = [
    `${paint(markOf(state))} ${colors.dim(ROLES[role])}${place === undefined ? "" : colors.dim(`[${place}] `)}${colors.bold(name)}`,
    colors.dim(id),
    ...(description === undefined ? [] : [`“${description}”`]),
    paint(state),
    ...(node.counts === undefined ? [] : [countsText(node)]),
    ...(where === undefined ? [] : [colors.yellow(whereText(where))]),
    ...(error === undefined || where?.kind === "dead" ? [] : [colors.red(error)]),
    ...(doneAt === undefined ? [] : [colors.dim(doneAt.toISOString())]),
  ];
  return words.join("  ");
}

function countsText({ counts }: WorkflowNode): string {
  if (counts === undefined) return "";
  const { total, pending, succeeded, failed, dead } = counts;
  const parts = [
    `${total - pending} of ${total} ended`,
    ...(succeeded > 0 && succeeded < total ? [`${succeeded} well`] : []),
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(dead > 0 ? [`${dead} dead`] : []),
  ];
  return parts.join(", ");
}

export function whereText(where: Whereabouts): string {
  switch (where.kind) {
    case "queue":
      return `waits in ${where.queue}`;
    case "parked":
      return `parked in ${where.queue} until ${new Date(where.dueAt).toISOString()}`;
    case "held":
      return `waits in ${where.queue} for the limit ${limitLabel(where.limit)}`;
    case "loan":
      return where.worker === undefined ? "with a Python worker" : `with worker ${where.worker}`;
    case "dead":
      return `dead letter of ${where.queue}, ${where.reason}: ${where.error}`;
    case "gone":
      return "gone: no message of it was found";
    case "unknown":
      return "not found among the messages that were looked at";
  }
}

const MARKS: Readonly<Record<string, string>> = {
  SUCCESS: "✓",
  succeeded: "✓",
  complete: "✓",
  FAILURE: "✗",
  REVOKED: "⊘",
  cancelled: "⊘",
  RETRY: "↻",
  STARTED: "▸",
  PROGRESS: "▸",
  WAITING: "·",
};
const markOf = (state: string): string => MARKS[state] ?? "○";

function paintOf(state: string, colors: Colors): Paint {
  if (state === "SUCCESS" || state === "succeeded") return colors.green;
  if (state === "FAILURE" || state === "REVOKED" || state === "cancelled") return colors.red;
  return state === "WAITING" ? colors.dim : colors.yellow;
}
