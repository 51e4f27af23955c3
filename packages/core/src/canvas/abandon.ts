/**
 * What will not run any more because something before it failed: every task in it gets the failure as its outcome, so
 * that nobody waits in vain, and each of its ends that stands in a chord's header reports there.
 */
import type { SignatureData } from "../protocol/signature.ts";
import { linksIn, readSignature, shapeOf, textIn } from "./signature-data.ts";
import { flatMembers, onError, runningSteps } from "./steps.ts";

export interface AbandonedTask {
  readonly id: string;
  readonly groupId: string | undefined;
  /** Where its part is due, if its group is a chord's header. */
  readonly member: ChordMember | undefined;
}

export interface ChordMember {
  readonly groupId: string;
  readonly index: number | undefined;
  readonly chord: SignatureData;
}

/** Without `chord` the other members tell the body. */
export type ReportedMember = Omit<ChordMember, "chord"> & Partial<Pick<ChordMember, "chord">>;

/** A step that never got an id has nobody who waits for it. */
export function abandonedTasks(signature: SignatureData): readonly AbandonedTask[] {
  const shape = shapeOf(signature);
  const { options } = signature;
  const after = chainOf(signature).flatMap(abandonedTasks);
  switch (shape.kind) {
    case "task": {
      const id = textIn(options, "task_id");
      return id === undefined ? after : [{ id, groupId: textIn(options, "group_id"), member: memberOf(options) }, ...after];
    }
    case "chain":
      return [...runningSteps(shape.steps, options).flatMap(abandonedTasks), ...after];
    case "group":
      return [...flatMembers(shape.members).flatMap(abandonedTasks), ...after];
    case "chord": {
      // Its header never began, so nobody counts its parts.
      const header = abandonedTasks(shape.header).map((task) => ({ ...task, member: undefined }));
      return [...header, ...abandonedTasks(shape.body), ...after];
    }
  }
}

/** The tasks that are called when it fails before it could begin, each list with the id that they are told. */
export function errbacksOf(signature: SignatureData): readonly { readonly id: string; readonly errbacks: readonly SignatureData[] }[] {
  const shape = shapeOf(signature);
  switch (shape.kind) {
    case "task": {
      const errbacks = linksIn(signature.options, "link_error");
      return errbacks.length === 0 ? [] : [{ id: textIn(signature.options, "task_id") ?? "", errbacks }];
    }
    case "chain": {
      // They are on every step; the whole is known by its last.
      const [last] = runningSteps(shape.steps, signature.options).slice(-1);
      return last === undefined ? [] : errbacksOf(last);
    }
    case "group":
      return flatMembers(shape.members).flatMap((member) => errbacksOf(onError(member, linksIn(signature.options, "link_error"))));
    case "chord":
      return errbacksOf(onError(shape.body, linksIn(signature.options, "link_error")));
  }
}

export function memberOf(options: Readonly<Record<string, unknown>>): ChordMember | undefined {
  const groupId = textIn(options, "group_id");
  if (groupId === undefined || options.chord === undefined || options.chord === null) return undefined;
  const index = options.group_index;
  return { groupId, index: typeof index === "number" ? index : undefined, chord: readSignature(options.chord, "options.chord") };
}

/** What remains of the chain around it, next first. */
function chainOf({ options }: SignatureData): readonly SignatureData[] {
  const { chain } = options;
  return Array.isArray(chain) ? chain.map((each, i) => readSignature(each, `options.chain[${i}]`)).toReversed() : [];
}
