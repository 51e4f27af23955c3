import pc from "picocolors";
import { expect, test } from "vitest";
import type { WorkflowNode, WorkflowView } from "../app/workflow/node.ts";
import { workflowLines } from "./workflow-tree.ts";

const plain = pc.createColors(false);
const task = (id: string, role: WorkflowNode["role"], state: string, more: Partial<WorkflowNode> = {}): WorkflowNode => ({
  kind: "task",
  id,
  role,
  state,
  parts: [],
  ...more,
});

test("a batch is drawn with its members, what is hidden, its callbacks and what to do", () => {
  const view: WorkflowView = {
    id: "b",
    isPartial: true,
    problems: [{ id: "b.1", problem: "is a dead letter of q (failed)", remedies: ["retry b.1"] }],
    root: {
      kind: "batch",
      id: "b",
      role: "root",
      state: "sealed",
      description: "May",
      counts: { total: 6, pending: 2, succeeded: 3, failed: 0, dead: 1 },
      hidden: 3,
      parts: [
        task("b.1", "member", "FAILURE", { place: 1, task: "t", where: { kind: "dead", queue: "q", reason: "failed", error: "no" } }),
        task("b.4", "member", "PENDING", { place: 4, task: "t", where: { kind: "loan", worker: "w@1" } }),
        task("s", "onSuccess", "WAITING", { task: "done" }),
      ],
    },
  };
  expect(workflowLines(view, plain)).toEqual([
    "○ batch  b  “May”  sealed  4 of 6 ended, 3 well, 1 dead",
    "├─ ✗ [1] t  b.1  FAILURE  dead letter of q, failed: no",
    "├─ ○ [4] t  b.4  PENDING  with worker w@1",
    "├─ … 3 more that are not shown",
    "└─ · on success done  s  WAITING",
    "",
    "! b.1 is a dead letter of q (failed)",
    "    lovage workflow retry b.1",
    "",
    "Not all messages were looked at: --messages looks at more, --queues at other queues.",
  ]);
});

test("a chain is drawn downwards, with the time at which each step ended", () => {
  const last = task("c", "child", "RETRY", { task: "third", where: { kind: "parked", queue: "q", dueAt: 0 } });
  const root = task("a", "root", "SUCCESS", {
    task: "first",
    doneAt: new Date(0),
    parts: [task("b", "child", "FAILURE", { error: "ValueError('x')", parts: [last] })],
  });
  expect(workflowLines({ id: "a", root, problems: [], isPartial: false }, plain)).toEqual([
    "✓ first  a  SUCCESS  1970-01-01T00:00:00.000Z",
    "└─ ✗ task  b  FAILURE  ValueError('x')",
    "   └─ ↻ third  c  RETRY  parked in q until 1970-01-01T00:00:00.000Z",
  ]);
});
