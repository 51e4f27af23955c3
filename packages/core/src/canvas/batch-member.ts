/**
 * What a batch writes on the wire: the headers by which a member is known, and the callbacks that are kept with it.
 * A member's id follows from its batch and its place, so that it can be found, and published again, as itself.
 */
import { ProtocolError } from "../protocol/errors.ts";
import type { SignatureData } from "../protocol/signature.ts";
import { isMap, mergedOptions, namesIn, readSignature, shapeOf, textIn } from "./signature-data.ts";

/** `[batch, place]`. */
export const MEMBER_HEADER = "lovage_batch";
/** The batch alone, as a stamp: what is revoked by it is revoked on workers of either language. */
export const BATCH_STAMP = "lovage_batch_id";

export interface BatchPlace {
  readonly batchId: string;
  readonly place: number;
}

export const memberId = ({ batchId, place }: BatchPlace): string => `${batchId}.${place}`;

/** undefined: it is no member of a batch. */
export function batchPlaceOf(headers: Readonly<Record<string, unknown>>): BatchPlace | undefined {
  const header = headers[MEMBER_HEADER];
  if (!Array.isArray(header)) return undefined;
  const [batchId, place] = header as unknown[];
  return typeof batchId === "string" && Number.isSafeInteger(place) && (place as number) >= 0
    ? { batchId, place: place as number } // was looked at
    : undefined;
}

/** The signature as it is sent for that place. @throws ProtocolError for what cannot be a member */
export function asMember(signature: SignatureData, at: BatchPlace): SignatureData {
  const { kind } = shapeOf(signature);
  if (kind !== "task")
    throw new ProtocolError("malformed", "batch", `a ${kind} cannot be a member: make its tasks members, or give it a batch of its own`);
  const own = textIn(signature.options, "task_id");
  if (own !== undefined) throw new ProtocolError("malformed", "batch", `a member gets its id from its batch, and this one has ${own}`);
  const headers = { ...(isMap(signature.options.headers) ? signature.options.headers : {}), [MEMBER_HEADER]: [at.batchId, at.place] };
  const stamps = [...new Set([...namesIn(signature.options.stamped_headers), BATCH_STAMP])];
  const options = mergedOptions(signature.options, { headers, task_id: memberId(at), [BATCH_STAMP]: at.batchId });
  return { ...signature, options: { ...options, stamped_headers: stamps } };
}

/** What is kept of a batch beside its counts. */
export interface BatchDocument {
  readonly description: string | undefined;
  /** By event; each has its id already. */
  readonly callbacks: Readonly<Record<string, SignatureData>>;
}

export const encodeBatchDocument = (document: BatchDocument): string => JSON.stringify(document);

/** @throws ProtocolError */
export function decodeBatchDocument(text: string): BatchDocument {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new ProtocolError("malformed", "batch", "not JSON", { cause });
  }
  if (!isMap(document) || !isMap(document.callbacks)) throw new ProtocolError("malformed", "batch", "not a batch");
  const { description, callbacks } = document;
  return {
    description: typeof description === "string" ? description : undefined,
    callbacks: Object.fromEntries(Object.entries(callbacks).map(([event, data]) => [event, readSignature(data, `batch.${event}`)])),
  };
}
