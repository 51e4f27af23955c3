/** A running task's place in the workflow that it is part of, and what it may do there: be replaced, add to its chord. */
import { isMap, readSignature } from "../canvas/signature-data.ts";
import type { Replaced } from "../canvas/replace.ts";
import type { ResultTuple } from "../canvas/result-tuple.ts";
import { sizeOf } from "../canvas/steps.ts";
import type { SignatureData } from "../protocol/signature.ts";
import type { Lovage } from "./app.ts";
import { CallError, PublishFailedError } from "./errors.ts";
import type { TaskContext } from "./task-context.ts";

/** One whose end is a part of a chord. */
export type FellowMember = SignatureData & { readonly options: { readonly group_id: string } };

export function replacedBy(ctx: TaskContext): Replaced {
  const { id, rootId, group, groupIndex, replacedTaskNesting, headers, stamps } = ctx;
  return {
    id,
    rootId,
    groupId: group,
    groupIndex,
    nesting: replacedTaskNesting,
    callbacks: signaturesIn(ctx.callbacks, "callbacks"),
    errbacks: signaturesIn(ctx.errbacks, "errbacks"),
    chain: signaturesIn(ctx.chain, "chain"),
    chord: chordOf(ctx),
    headers,
    stamps,
    queue: ctx.delivery.queue,
  };
}

/** A signature with this task's place: its end is one more part of the task's chord. @throws CallError */
export function asFellowMember(signature: SignatureData, ctx: TaskContext): FellowMember {
  const chord = chordOf(ctx);
  const { group, groupIndex, rootId } = ctx;
  if (chord === undefined || group === undefined) throw new CallError(ctx.task, `${ctx.task}[${ctx.id}] is no member of a chord`);
  const index = groupIndex === undefined ? {} : { group_index: groupIndex };
  return { ...signature, options: { ...signature.options, group_id: group, ...index, chord, root_id: rootId } };
}

/** The chord must wait for it before it can be there. */
export async function sendMember(app: Lovage, member: FellowMember): Promise<ResultTuple> {
  const size = sizeOf(member);
  const { group_id: groupId } = member.options;
  await app.results.extendGroup(groupId, size);
  try {
    return await app.calls.sendSignature(member, [], {}, {});
  } catch (error) {
    const isNowhere = !(error instanceof PublishFailedError) || error.calls.every(({ fate }) => fate === "refused");
    if (isNowhere) await app.results.extendGroup(groupId, -size).catch(() => undefined); // what could not be sent is what there is to tell
    throw error;
  }
}

function chordOf({ chord }: TaskContext): SignatureData | undefined {
  return isMap(chord) ? readSignature(chord, "chord") : undefined;
}

function signaturesIn(list: readonly unknown[] | undefined, where: string): readonly SignatureData[] {
  return (list ?? []).map((each, i) => readSignature(each, `${where}[${i}]`));
}
