/**
 * A chain's steps as they run: nested chains are spliced in, and a group that something follows becomes a chord with that
 * as its body (celery-protocol 7.4). Callbacks of a chain belong to its last step, error callbacks to all of them.
 */
import type { SignatureData } from "../protocol/signature.ts";
import { chordSignature, groupSignature, linksIn, shapeOf, type SignatureOptions, textIn, withLinks } from "./signature-data.ts";

export function runningSteps(steps: readonly SignatureData[], options: SignatureOptions): readonly SignatureData[] {
  const all: SignatureData[] = [];
  // From the end, because a body may itself be the chord that a group before it became.
  for (const step of spliced(steps, options).toReversed()) {
    const next = all.at(-1);
    if (next !== undefined && shapeOf(step).kind === "group") all[all.length - 1] = chordSignature(groupOnly(step), next, idOf(next));
    else all.push(step);
  }
  return all.toReversed();
}

/** Not yet with chords for groups: what follows the chain around is not known here. */
function spliced(steps: readonly SignatureData[], options: SignatureOptions): readonly SignatureData[] {
  const all = steps.flatMap(splice).filter((step) => !isEmptyGroup(step));
  const errbacks = linksIn(options, "link_error");
  return all.map((step, i) => {
    if (i === all.length - 1) return onError(onSuccess(step, linksIn(options, "link")), errbacks);
    // What follows a group is the body that its members' failure is told to.
    return shapeOf(step).kind === "group" ? step : onError(step, errbacks);
  });
}

function splice(step: SignatureData): readonly SignatureData[] {
  const shape = shapeOf(step);
  if (shape.kind === "chain") return spliced(shape.steps, step.options);
  if (shape.kind !== "group") return [step];
  const members = flatMembers(shape.members);
  const only = members.length === 1 ? members[0] : undefined;
  return only === undefined ? [step] : splice(onError(only, linksIn(step.options, "link_error"))); // a group of one is its member
}

function isEmptyGroup(step: SignatureData): boolean {
  const shape = shapeOf(step);
  return shape.kind === "group" && flatMembers(shape.members).length === 0;
}

function groupOnly(step: SignatureData): SignatureData {
  const shape = shapeOf(step);
  return shape.kind === "group" ? groupSignature(shape.members, step.options) : step;
}

function idOf(body: SignatureData): SignatureOptions {
  const id = textIn(body.options, "task_id");
  return id === undefined ? {} : { task_id: id };
}

/** Groups in a group are one group, in the order they are written. */
export function flatMembers(members: readonly SignatureData[]): readonly SignatureData[] {
  return members.flatMap((member) => {
    const shape = shapeOf(member);
    if (shape.kind !== "group") return [member];
    const errbacks = linksIn(member.options, "link_error");
    return flatMembers(shape.members).map((each) => onError(each, errbacks));
  });
}

/** To be called with its result: a chain's last step, a chord's body, and of a group nothing, for it has no one result. */
export function onSuccess(signature: SignatureData, callbacks: readonly SignatureData[]): SignatureData {
  if (callbacks.length === 0) return signature;
  const shape = shapeOf(signature);
  if (shape.kind === "group") return signature;
  if (shape.kind === "chord") return { ...signature, kwargs: { ...signature.kwargs, body: onSuccess(shape.body, callbacks) } };
  return withLinks(signature, "link", callbacks);
}

/** To be called when it fails: each step, each member, and of a chord its body, whose failure includes its header's. */
export function onError(signature: SignatureData, errbacks: readonly SignatureData[]): SignatureData {
  if (errbacks.length === 0) return signature;
  const shape = shapeOf(signature);
  if (shape.kind === "group")
    return groupSignature(
      shape.members.map((each) => onError(each, errbacks)),
      signature.options,
    );
  if (shape.kind === "chord") return { ...signature, kwargs: { ...signature.kwargs, body: onError(shape.body, errbacks) } };
  return withLinks(signature, "link_error", errbacks);
}

/** How many parts it reports to the chord whose header it is in (celery-protocol 7.5). */
export function sizeOf(signature: SignatureData): number {
  const shape = shapeOf(signature);
  switch (shape.kind) {
    case "task":
      return 1;
    case "chain": {
      const last = runningSteps(shape.steps, {}).at(-1);
      return last === undefined ? 0 : sizeOf(last);
    }
    case "group":
      return shape.members.reduce((sum, member) => sum + sizeOf(member), 0);
    case "chord":
      return sizeOf(shape.body);
  }
}
