/**
 * What a task puts in its own place (Celery's `Task.replace`): whatever was to happen at the task's end happens at the
 * end of that instead. It ends under the task's id, reports to the task's chord, calls the task's callbacks and error
 * callbacks, and the rest of the task's chain comes after it (celery-protocol 7.6).
 */
import { ProtocolError } from "../protocol/errors.ts";
import type { WireException } from "../protocol/exception.ts";
import type { SignatureData } from "../protocol/signature.ts";
import { BATCH_STAMP, MEMBER_HEADER } from "./batch-member.ts";
import { chainSignature, chordSignature, isMap, mergedOptions, namesIn, shapeOf, taskSignature, textIn } from "./signature-data.ts";
import { onError, onSuccess } from "./steps.ts";

/** The task that is replaced, as its message said. */
export interface Replaced {
  readonly id: string;
  readonly rootId: string;
  readonly groupId: string | undefined;
  readonly groupIndex: number | undefined;
  readonly nesting: number;
  readonly callbacks: readonly SignatureData[];
  readonly errbacks: readonly SignatureData[];
  /** Next last, as on the wire. */
  readonly chain: readonly SignatureData[];
  readonly chord: SignatureData | undefined;
  /** The user's. */
  readonly headers: Readonly<Record<string, unknown>>;
  readonly stamps: Readonly<Record<string, unknown>>;
  /** A worker takes from it: what gathers the results of a group goes there. */
  readonly queue: string | undefined;
}

/** What a task leaves behind, instead of a result. */
export type HandOver =
  | { readonly kind: "call"; readonly signature: SignatureData }
  /** It will not run, because what it was to be called with has failed. */
  | { readonly kind: "failBody"; readonly body: SignatureData; readonly error: WireException };

/** @throws ProtocolError for what cannot stand in a task's place */
export function replacement(signature: SignatureData, replaced: Replaced): SignatureData {
  const shape = shapeOf(signature);
  if (signature.options.chord !== undefined && signature.options.chord !== null)
    throw new ProtocolError("unsupported", "replacement", "it reports to a chord of its own already: a replacement takes its task's");
  if (shape.kind === "chain" && shape.steps.length === 0) throw new ProtocolError("unsupported", "replacement", "it is a chain of nothing");
  const whole = shape.kind === "group" ? gathered(signature, replaced.queue) : signature;
  const linked = atItsEnd(onError(onSuccess(whole, replaced.callbacks), replaced.errbacks), (last) => withBatch(last, replaced));
  const nesting = replaced.nesting + 1;
  const { id, rootId, groupId, groupIndex, chord, chain } = replaced;
  return {
    ...marked(linked, nesting),
    options: {
      ...linked.options,
      task_id: textIn(linked.options, "task_id") ?? id,
      root_id: rootId,
      replaced_task_nesting: nesting,
      ...(groupId !== undefined && { group_id: groupId }),
      ...(groupIndex !== undefined && { group_index: groupIndex }),
      ...(chord !== undefined && { chord }),
      ...(chain.length > 0 && { chain: chain.map((step) => withNesting(step, nesting)) }),
    },
  };
}

/** A group has no one result: a task of Celery's own, which every worker knows, makes a list of its members'. */
function gathered(group: SignatureData, queue: string | undefined): SignatureData {
  const options = queue === undefined ? {} : { queue };
  return chordSignature(group, taskSignature("celery.accumulate", [], { index: 0 }, options));
}

/** The batch that the task is a member of hears of the one that ends under its id. */
function withBatch(signature: SignatureData, { headers, stamps }: Replaced): SignatureData {
  if (headers[MEMBER_HEADER] === undefined) return signature;
  const own = isMap(signature.options.headers) ? signature.options.headers : {};
  const options = mergedOptions(signature.options, {
    headers: { ...own, [MEMBER_HEADER]: headers[MEMBER_HEADER] },
    [BATCH_STAMP]: stamps[BATCH_STAMP],
  });
  return { ...signature, options: { ...options, stamped_headers: [...new Set([...namesIn(options.stamped_headers), BATCH_STAMP])] } };
}

/** Changes the task whose result is that of the whole. */
function atItsEnd(signature: SignatureData, change: (last: SignatureData) => SignatureData): SignatureData {
  const shape = shapeOf(signature);
  switch (shape.kind) {
    case "task":
      return change(signature);
    case "chain":
      return {
        ...signature,
        kwargs: {
          ...signature.kwargs,
          tasks: shape.steps.map((step, i) => (i === shape.steps.length - 1 ? atItsEnd(step, change) : step)),
        },
      };
    case "chord":
      return { ...signature, kwargs: { ...signature.kwargs, body: atItsEnd(shape.body, change) } };
    case "group":
      return signature;
  }
}

/** Each step of a chain tells monitors how deep it is. */
function marked(signature: SignatureData, nesting: number): SignatureData {
  const shape = shapeOf(signature);
  if (shape.kind !== "chain") return signature;
  return { ...signature, kwargs: chainSignature(shape.steps.map((step) => withNesting(step, nesting))).kwargs };
}

function withNesting(signature: SignatureData, nesting: number): SignatureData {
  return { ...signature, options: { ...signature.options, replaced_task_nesting: nesting } };
}
