/** Results of a workflow as Celery writes them: `[[id, parent], null]` for a task, `[[id, parent], [children]]` for a group (celery-protocol 6.5). */
import { ProtocolError } from "../protocol/errors.ts";

export type ResultTuple = readonly [readonly [string, ResultTuple | null], readonly ResultTuple[] | null];

/** Deeper than any chain that fits in a message would be hostile. */
const DEEPEST = 10_000;

/** @throws ProtocolError */
export function readResultTuple(value: unknown, where = "result", depth = 0): ResultTuple {
  if (depth > DEEPEST) throw new ProtocolError("malformed", where, "nested too deep");
  if (!Array.isArray(value)) throw new ProtocolError("malformed", where, "not a result tuple");
  const [head, children = null] = value as unknown[];
  const [id, parent = null] = Array.isArray(head) ? (head as unknown[]) : [head];
  if (typeof id !== "string") throw new ProtocolError("malformed", where, "a result tuple without an id");
  if (children !== null && !Array.isArray(children)) throw new ProtocolError("malformed", where, "its children are no list");
  return [
    [id, parent === null ? null : typeof parent === "string" ? [[parent, null], null] : readResultTuple(parent, where, depth + 1)],
    children === null ? null : children.map((child) => readResultTuple(child, where, depth + 1)),
  ];
}

/** Ids of the tasks whose results make up this one: its own, or those of a group's members, in order. */
export function leafIds([[id], children]: ResultTuple): readonly string[] {
  return children === null ? [id] : children.flatMap(leafIds);
}

/**
 * What was begun by sending the whole, for the document of the task that sent it: the first of its line, and behind a group
 * also what comes next, which no member's document names. In a document's children nobody looks for ancestors.
 */
export function begunOf(tuple: ResultTuple): readonly ResultTuple[] {
  let [first, next]: [ResultTuple, ResultTuple | undefined] = [tuple, undefined];
  for (let parent = first[0][1]; parent !== null; parent = first[0][1]) [first, next] = [parent, first];
  const begun = first[1] !== null && next !== undefined ? [first, next] : [first];
  return begun.map(withoutParents);
}

function withoutParents([[id], children]: ResultTuple): ResultTuple {
  return [[id, null], children === null ? null : children.map(withoutParents)];
}
