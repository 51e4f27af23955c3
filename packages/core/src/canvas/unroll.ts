/**
 * Turns a signature of any kind into the messages that begin it: the one place where it is decided what is sent first,
 * what travels along as the rest, and where each end reports. Used by callers, and by workers for what follows a task.
 * Pure but for fresh ids. After Celery's canvas.py: `prepare_steps`, `group.apply_async`, `chord.run`.
 */
import { encodeJson } from "../protocol/json.ts";
import type { SignatureData } from "../protocol/signature.ts";
import { newId } from "../shared/ids.ts";
import { freeze } from "./freeze.ts";
import type { ResultTuple } from "./result-tuple.ts";
import {
  groupSignature,
  linksIn,
  merged,
  mergedOptions,
  readSignature,
  shapeOf,
  type SignatureOptions,
  textIn,
  without,
} from "./signature-data.ts";
import { flatMembers, onError, onSuccess, runningSteps, sizeOf } from "./steps.ts";

/** One message to be sent. `options` hold all that is not an argument, in Celery's spelling, `task_id` always. */
export interface PlannedCall {
  readonly task: string;
  /** Whose routes it takes: a map is routed as the task that it maps. */
  readonly routeAs: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly options: SignatureOptions;
}

/** Must be known where results are kept before the first message is sent. */
export interface GroupSize {
  readonly groupId: string;
  readonly size: number;
  /** By place; empty when there are very many, or when some have no place. */
  readonly members: readonly string[];
  /** The signature that is called at its end, as JSON. */
  readonly body: string;
}

/** Members whose ids are kept beside their group, so that one that is missing can be named. */
const NAMED_MAX = 10_000;

export interface Plan {
  readonly calls: readonly PlannedCall[];
  readonly sizes: readonly GroupSize[];
  /** Headers whose members end in groups: their results are nested as these tuples are, so they are kept for the one who completes the chord. */
  readonly nested: readonly ResultTuple[];
  readonly result: ResultTuple;
}

interface Draft {
  readonly calls: PlannedCall[];
  readonly sizes: GroupSize[];
  readonly nested: ResultTuple[];
}

export interface Applied {
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  /** Win over the signature's own. `chain` is what remains after it, `group_id`, `group_index` and `chord` where its end reports. */
  readonly options?: SignatureOptions;
  readonly replyTo?: string;
}

/** @throws ProtocolError for a signature that is malformed somewhere inside */
export function unroll(signature: SignatureData, { args = [], kwargs = {}, options = {}, replyTo = "" }: Applied): Plan {
  const draft: Draft = { calls: [], sizes: [], nested: [] };
  const result = apply(merged(signature, args, kwargs, options), draft, replyTo);
  return { ...draft, result };
}

/** The arguments and options of its caller are merged into it already. */
function apply(signature: SignatureData, draft: Draft, replyTo: string): ResultTuple {
  const shape = shapeOf(signature);
  switch (shape.kind) {
    case "task":
      return applyTask(signature, draft, replyTo);
    case "chain":
      return applyChain(signature, shape.steps, draft, replyTo);
    case "group":
      return applyGroup(signature, shape.members, draft, replyTo);
    case "chord":
      return applyChord(signature, shape.header, shape.body, draft, replyTo);
  }
}

function applyTask(signature: SignatureData, draft: Draft, replyTo: string): ResultTuple {
  const { task, args, kwargs, options, subtask_type: type } = signature;
  const id = textIn(options, "task_id") ?? newId();
  const routeAs = type === "xmap" || type === "xstarmap" ? readSignature(kwargs.task, "map.task").task : task;
  draft.calls.push({ task, routeAs, args, kwargs, options: { reply_to: replyTo, ...options, task_id: id } });
  return [[id, null], null];
}

/** Where the end of something reports; all other options are for its beginning. */
const PLACE = ["task_id", "group_id", "group_index", "chord"] as const;
/** Say nothing to a step or a member: they have their own, or were given theirs. */
const OF_THE_WHOLE = [...PLACE, "chain", "link", "link_error"] as const;

function applyChain(signature: SignatureData, written: readonly SignatureData[], draft: Draft, replyTo: string): ResultTuple {
  const { options, args, kwargs, immutable } = signature;
  const steps = runningSteps(written, options);
  const [first] = steps;
  if (first === undefined) return [[textIn(options, "task_id") ?? newId(), null], []];
  const place = placeIn(options);
  const outer = chainIn(options);
  if (steps.length === 1) {
    const whole = without(options, "link", "link_error");
    return apply(immutable ? withOptions(first, whole) : merged(first, args, without(kwargs, "tasks"), whole), draft, replyTo);
  }
  const rest = steps.slice(1).map((step, i) => freeze(step, { ...(i === steps.length - 2 ? place : {}), reply_to: replyTo }));
  const remaining = [...outer, ...rest.map((each) => each.signature).toReversed()];
  const begun = apply(
    merged(first, args, without(kwargs, "tasks"), { ...without(options, ...OF_THE_WHOLE), chain: remaining }),
    draft,
    replyTo,
  );
  return rest.reduce((parent, each) => parented(each.result, parent), begun);
}

function applyGroup(signature: SignatureData, written: readonly SignatureData[], draft: Draft, replyTo: string): ResultTuple {
  const { options, args, kwargs } = signature;
  const outer = chainIn(options);
  const next = outer.at(-1);
  if (next !== undefined) {
    // A chord whose body is a group, or a foreign chain: what follows the group is its chord's body. Members that are frozen know its id.
    const id = textIn(options, "task_id");
    const own = { ...(id !== undefined && { task_id: id }), ...(options.link_error !== undefined && { link_error: options.link_error }) };
    const header = groupSignature(written, { ...without(options, ...OF_THE_WHOLE), ...own });
    const body = withOptions(next, { ...placeOf(options), chain: outer.slice(0, -1) });
    return applyChordOf(header, body, options, args, draft, replyTo);
  }
  const id = textIn(options, "group_id") ?? textIn(options, "task_id") ?? newId();
  const common = without(options, ...OF_THE_WHOLE);
  const errbacks = linksIn(options, "link_error");
  const chord = options.chord === undefined ? {} : { chord: options.chord };
  const members = flatMembers(written).map((member, i) =>
    apply(
      merged(onError(member, errbacks), args, without(kwargs, "tasks"), { ...common, ...chord, group_id: id, group_index: i }),
      draft,
      replyTo,
    ),
  );
  return [[id, null], members];
}

function applyChord(signature: SignatureData, header: SignatureData, body: SignatureData, draft: Draft, replyTo: string): ResultTuple {
  const { options } = signature;
  const id = textIn(options, "task_id");
  const linked = onSuccess(onError(body, linksIn(options, "link_error")), linksIn(options, "link"));
  const whole = without(options, "link", "link_error", "task_id");
  const isHeaders = id === undefined || id === textIn(header.options, "task_id"); // Celery writes the header's there
  const ended = withOptions(linked, isHeaders || textIn(linked.options, "task_id") !== undefined ? whole : { ...whole, task_id: id });
  return applyChordOf(header, ended, whole, signature.args, draft, replyTo);
}

/** The body has its place already. */
function applyChordOf(
  header: SignatureData,
  written: SignatureData,
  options: SignatureOptions,
  args: readonly unknown[],
  draft: Draft,
  replyTo: string,
): ResultTuple {
  const shape = shapeOf(header);
  const members = shape.kind === "group" ? flatMembers(shape.members) : [header];
  const groupId = textIn(header.options, "task_id") ?? newId();
  const place = { ...placeIn(written.options), reply_to: replyTo };
  // A body that ends in a group has an id of its own: under the header's it could not be waited for, and its parts would be the header's.
  const body = freeze(written, endsInGroup(written) ? place : { group_id: groupId, ...place });
  const size = members.reduce((sum, member) => sum + sizeOf(member), 0);
  if (size === 0) return apply(merged(body.signature, [[]]), draft, replyTo);
  const common = { ...without(header.options, ...OF_THE_WHOLE), ...without(options, ...OF_THE_WHOLE, "stamped_headers") };
  const errbacks = linksIn(header.options, "link_error");
  const results = members.map((member, i) =>
    apply(
      merged(onError(member, errbacks), args, undefined, { ...common, group_id: groupId, group_index: i, chord: body.signature }),
      draft,
      replyTo,
    ),
  );
  const head: ResultTuple = [[groupId, null], results];
  const isFlat = results.every(([, children]) => children === null) && results.length === size && size <= NAMED_MAX;
  const named = isFlat ? results.map(([[id]]) => id) : [];
  draft.sizes.push({ groupId, size, members: named, body: encodeJson(body.signature, { where: "chord", undefinedProperties: "drop" }) });
  if (results.some(([, children]) => children !== null)) draft.nested.push(head);
  return parented(body.result, head);
}

function endsInGroup(signature: SignatureData): boolean {
  const shape = shapeOf(signature);
  switch (shape.kind) {
    case "task":
      return false;
    case "group":
      return true;
    case "chord":
      return endsInGroup(shape.body);
    case "chain": {
      const last = runningSteps(shape.steps, {}).at(-1);
      return last !== undefined && endsInGroup(last);
    }
  }
}

function placeIn(options: SignatureOptions): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    PLACE.filter((name) => options[name] !== undefined && options[name] !== null).map((name) => [name, options[name]]),
  );
}

function placeOf(options: SignatureOptions): SignatureOptions {
  return without(placeIn(options), "task_id");
}

function chainIn(options: SignatureOptions): readonly SignatureData[] {
  const { chain } = options;
  return Array.isArray(chain) ? chain.map((each, i) => readSignature(each, `options.chain[${i}]`)) : [];
}

function withOptions(signature: SignatureData, options: SignatureOptions): SignatureData {
  return { ...signature, options: mergedOptions(signature.options, options) };
}

function parented(result: ResultTuple, parent: ResultTuple): ResultTuple {
  const [[id, own], children] = result;
  return [[id, own === null ? parent : parented(own, parent)], children];
}
