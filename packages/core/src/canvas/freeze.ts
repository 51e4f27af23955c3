/**
 * Gives every task of a signature its id before any of them is sent, so that whoever waits for the whole knows what to
 * wait for, and a step that is sent twice is one task.
 */
import type { SignatureData } from "../protocol/signature.ts";
import { newId } from "../shared/ids.ts";
import type { ResultTuple } from "./result-tuple.ts";
import { groupSignature, mergedOptions, shapeOf, textIn } from "./signature-data.ts";
import { flatMembers, runningSteps } from "./steps.ts";

/** What a signature that stands inside of others is told by them. Names as on the wire. */
export interface Place {
  readonly task_id?: string | undefined;
  readonly group_id?: string | undefined;
  readonly group_index?: number | undefined;
  readonly chord?: SignatureData | undefined;
  readonly reply_to?: string | undefined;
}

export interface Frozen {
  readonly signature: SignatureData;
  readonly result: ResultTuple;
}

/** Ids that are there already stay. */
export function freeze(signature: SignatureData, place: Place): Frozen {
  const shape = shapeOf(signature);
  switch (shape.kind) {
    case "task":
      return freezeTask(signature, place);
    case "chain":
      return freezeChain(signature, runningSteps(shape.steps, signature.options), place);
    case "group":
      return freezeGroup(signature, shape.members, place);
    case "chord":
      return freezeChord(signature, shape.header, shape.body, place);
  }
}

function freezeTask(signature: SignatureData, place: Place): Frozen {
  const id = textIn(signature.options, "task_id") ?? place.task_id ?? newId();
  const { task_id: _, reply_to, ...rest } = place;
  const options = { ...mergedOptions(signature.options, { ...rest }), task_id: id, reply_to: signature.options.reply_to ?? reply_to ?? "" };
  return { signature: { ...signature, options }, result: [[id, null], null] };
}

function freezeChain(signature: SignatureData, steps: readonly SignatureData[], place: Place): Frozen {
  const frozen: SignatureData[] = [];
  let result: ResultTuple | null = null;
  const last = steps.length - 1;
  for (const [i, step] of steps.entries()) {
    const own = textIn(signature.options, "task_id");
    const { reply_to } = place;
    const each: Frozen = freeze(step, i === last ? { ...place, task_id: own ?? place.task_id } : { reply_to });
    frozen.push(each.signature);
    result = after(each.result, result);
  }
  const options = Object.fromEntries(
    Object.entries(signature.options).filter(([name]) => name !== "link" && name !== "link_error" && name !== "task_id"),
  );
  return { signature: { ...signature, kwargs: { tasks: frozen }, options }, result: result ?? [[newId(), null], []] };
}

/** The first of a result's ancestors that has no parent gets this one. */
function after(result: ResultTuple, parent: ResultTuple | null): ResultTuple {
  if (parent === null) return result;
  const [[id, own], children] = result;
  return [[id, own === null ? parent : after(own, parent)], children];
}

function freezeGroup(signature: SignatureData, members: readonly SignatureData[], place: Place): Frozen {
  const id = place.group_id ?? textIn(signature.options, "task_id") ?? place.task_id ?? newId();
  const { chord, reply_to } = place;
  const frozen = flatMembers(members).map((member, i) => freeze(member, { group_id: id, group_index: i, chord, reply_to }));
  const options = { ...signature.options, task_id: id };
  return {
    signature: groupSignature(
      frozen.map((each) => each.signature),
      options,
    ),
    result: [[id, null], frozen.map((each) => each.result)],
  };
}

/**
 * Unlike in Celery the members do not each carry the body here: they get it when they are sent, and a long body in a long
 * header would be a message of their product's length.
 */
function freezeChord(signature: SignatureData, header: SignatureData, body: SignatureData, place: Place): Frozen {
  const own = textIn(signature.options, "task_id");
  const id = textIn(header.options, "task_id") ?? newId();
  const { reply_to } = place;
  const shape = shapeOf(header);
  const members = shape.kind === "group" ? flatMembers(shape.members) : [header];
  const frozenMembers = members.map((member) => freeze(member, { reply_to }));
  const ended = freeze(body, { ...place, task_id: place.task_id ?? (own === id ? undefined : own) });
  const frozenHeader = {
    ...header,
    kwargs: { tasks: frozenMembers.map((each) => each.signature) },
    options: { ...header.options, task_id: id },
  };
  return {
    signature: {
      ...signature,
      kwargs: { ...signature.kwargs, header: frozenHeader, body: ended.signature },
      options: { ...signature.options, task_id: id },
    },
    result: after(ended.result, [[id, null], frozenMembers.map((each) => each.result)]),
  };
}
