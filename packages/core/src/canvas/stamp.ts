/** Stamps: headers that a signature and all that follows from it carry (celery-protocol 7.8). Flat among the options, named in `stamped_headers`. */
import type { SignatureData } from "../protocol/signature.ts";
import { chainSignature, linksIn, mergedOptions, namesIn, readSignature, shapeOf, groupSignature } from "./signature-data.ts";

export type Stamps = Readonly<Record<string, unknown>>;
/** Asked for every task of a workflow; what it answers is added to the stamps. */
export type StampVisitor = (task: SignatureData) => Stamps;

/** Every task in it, its callbacks and error callbacks included. A stamp that is there already stays. */
export function stamped(signature: SignatureData, stamps: Stamps, visit?: StampVisitor): SignatureData {
  const again = (each: SignatureData): SignatureData => stamped(each, stamps, visit);
  const shape = shapeOf(signature);
  const linked = withStampedLinks(signature, again);
  switch (shape.kind) {
    case "task":
      return add(linked, visit === undefined ? stamps : { ...stamps, ...visit(signature) });
    case "chain":
      return { ...linked, kwargs: chainSignature(shape.steps.map(again)).kwargs };
    case "group":
      return groupSignature(shape.members.map(again), linked.options);
    case "chord":
      return { ...linked, kwargs: { ...linked.kwargs, header: again(shape.header), body: again(shape.body) } };
  }
}

function withStampedLinks(signature: SignatureData, again: (each: SignatureData) => SignatureData): SignatureData {
  const options: Record<string, unknown> = { ...signature.options };
  for (const name of ["link", "link_error"] as const)
    if (options[name] !== undefined) options[name] = linksIn(signature.options, name).map(again);
  if (options.chord !== undefined && options.chord !== null) options.chord = again(readSignature(options.chord, "options.chord"));
  return { ...signature, options };
}

function add(signature: SignatureData, stamps: Stamps): SignatureData {
  const names = Object.keys(stamps);
  if (names.length === 0) return signature;
  const all = [...new Set([...namesIn(signature.options.stamped_headers), ...names])];
  return { ...signature, options: { ...mergedOptions(signature.options, stamps), stamped_headers: all } };
}
