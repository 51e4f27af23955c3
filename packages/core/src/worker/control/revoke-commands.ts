/** Commands that revoke: by id, and by stamp. */
import { isStampValue, stampMark, type StampValue, stampMarksOf, taskMark } from "../../app/revocation-marks.ts";
import { pythonRepr } from "../../protocol/python-repr.ts";
import type { ReceivedControlRequest } from "../../protocol/control.ts";
import type { ReceivedTask } from "../../protocol/task-message.ts";
import { readTermination } from "../termination.ts";
import { type Arguments, type Command, CommandError, type ControlledNode } from "./command.ts";

/** Longer ones are nobody's id. */
const ID_MAX = 1000;
const REPR_MAX = 10_000;

export const revoke: Command = {
  isLasting: true,
  run: (node, args, request) => revokeIds(node, args, request, args["terminate"] === true),
};

/** As `revoke` with `terminate`. */
export const terminate: Command = { isLasting: true, run: (node, args, request) => revokeIds(node, args, request, true) };

function revokeIds(node: ControlledNode, args: Arguments, request: ReceivedControlRequest, isTerminated: boolean): unknown {
  const ids = readIds(args["task_id"]);
  const ended = revokeMarks(node, ids.map(taskMark), isTerminated, args, request);
  node.logger.info({ taskIds: ids }, `${isTerminated ? "Terminating" : "Tasks flagged as revoked"}: ${ids.slice(0, 10).join(", ")}`);
  if (isForAll(request) && request.isKept !== true) void node.storeRevoked(ids);
  if (ended === undefined) return { ok: `tasks ${setRepr(ids)} flagged as revoked` };
  return { ok: ended.length === 0 ? "terminate: tasks unknown" : `terminate: ${[...new Set(ended.map(({ id }) => id))].join(", ")}` };
}

/** `{"header": value or values}`, or `["header=value"]` as Celery's command line sends it. */
export const revokeByStampedHeaders: Command = {
  isLasting: true,
  run(node, args, request) {
    const headers = readHeaders(args["headers"]);
    const marks = headers.flatMap(([name, values]) => values.map((value) => stampMark(name, value)));
    const ended = revokeMarks(node, marks, args["terminate"] === true, args, request);
    const shown = pythonRepr(Object.fromEntries(headers), REPR_MAX);
    node.logger.info({ headers: Object.fromEntries(headers) }, `Stamped headers flagged as revoked: ${shown}`);
    if (ended === undefined) return { ok: `headers ${shown} flagged as revoked, but not terminated` };
    if (ended.length === 0) return { ok: `headers ${shown} were not terminated` };
    return { ok: `headers ${endedRepr(headers, ended)} revoked` };
  },
};

/** Returns what was ended; undefined when nothing was to be. A signal that is unknown is an error, but they are revoked: as in Celery. */
function revokeMarks(
  node: ControlledNode,
  marks: readonly string[],
  isTerminated: boolean,
  { signal }: Arguments,
  request: ReceivedControlRequest,
): readonly ReceivedTask[] | undefined {
  const how = isTerminated ? readTermination(signal ?? undefined) : undefined;
  const ended = how && node.terminate(new Set(marks), how);
  node.revoke(marks, !isForAll(request) || request.isKept === true);
  if (isTerminated && how === undefined) throw new CommandError("LookupError", `Unknown signal: ${pythonRepr(signal, 50)}`);
  return ended;
}

/** Only then is the wish one that other workers and later ones share. */
const isForAll = ({ destination, pattern }: ReceivedControlRequest): boolean => destination === undefined && pattern === undefined;

function readIds(value: unknown): string[] {
  const list: unknown[] = Array.isArray(value) ? value : value === undefined || value === null ? [] : [value];
  const isId = (id: unknown): id is string => typeof id === "string" && id !== "" && id.length <= ID_MAX;
  if (!list.every(isId)) throw new CommandError("ValueError", "task_id must be an id, or a list of ids");
  return [...new Set(list)];
}

function readHeaders(value: unknown): [name: string, values: StampValue[]][] {
  if (Array.isArray(value)) {
    if (!value.every((each): each is string => typeof each === "string" && each.includes("=")))
      throw new CommandError("ValueError", "headers must be a map, or a list of key=value");
    return value.map((each) => [each.slice(0, each.indexOf("=")), [each.slice(each.indexOf("=") + 1)]]);
  }
  if (typeof value !== "object" || value === null) throw new CommandError("TypeError", "headers must be a map, or a list of key=value");
  return Object.entries(value).map(([name, given]) => {
    const values: unknown[] = Array.isArray(given) ? given : [given];
    const isAccepted = (each: unknown): each is StampValue => isStampValue(each) && String(each).length <= ID_MAX;
    if (!values.every(isAccepted))
      throw new CommandError("ValueError", `the values of ${pythonRepr(name, 100)} must be texts, numbers or booleans`);
    return [name, values];
  });
}

function setRepr(ids: readonly string[]): string {
  if (ids.length === 0) return "set()";
  const list = pythonRepr(ids, REPR_MAX);
  return list.startsWith("[") && list.endsWith("]") ? `{${list.slice(1, -1)}}` : list;
}

/** Which of the values were those of a task that was ended. */
function endedRepr(headers: readonly [string, StampValue[]][], ended: readonly ReceivedTask[]): string {
  const found = new Set(ended.flatMap((task) => stampMarksOf(task)));
  const entries = headers.map(([name, values]) => [name, values.filter((value) => found.has(stampMark(name, value)))] as const);
  return pythonRepr(Object.fromEntries(entries.filter(([, values]) => values.length > 0)), REPR_MAX);
}
