/**
 * Bodies in JSON, the usual ones without parsing what is the same in all of them: nearly no task has callbacks of its own, and most have no
 * keyword arguments. The answer is that of `decodeJson` in any case.
 */
import { decodeJson } from "./json.ts";
import type { DecodeLimits } from "./limits.ts";

/** Celery and Lovage write it so. */
const NOTHING_FOLLOWS = ', {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]';
const NO_KWARGS = ", {}";

/** @throws ProtocolError */
export function decodeJsonBody(text: string, limits: DecodeLimits): unknown {
  const isUsual = text.length <= limits.maxBytes && text.endsWith(NOTHING_FOLLOWS);
  return (isUsual ? usualBody(text, limits) : undefined) ?? decodeJson(text, limits, "body");
}

/** Undefined when it is not what it seems: then the whole is read, or refused, as it stands. */
function usualBody(text: string, limits: DecodeLimits): unknown[] | undefined {
  const rest = text.slice(0, -NOTHING_FOLLOWS.length);
  try {
    if (rest.endsWith(NO_KWARGS) && rest.startsWith("[")) {
      const args = decodeJson(rest.slice(1, -NO_KWARGS.length), insideOf(limits), "body");
      return [args, {}, nothing()];
    }
    const parts = decodeJson(`${rest}]`, limits, "body") as unknown[]; // what ends so is a list, or no JSON
    return parts.length === 0 ? undefined : [...parts, nothing()];
  } catch {
    return undefined;
  }
}

let inside: { readonly of: DecodeLimits; readonly limits: DecodeLimits } | undefined;

/** Of what stands in a list: one level less. */
function insideOf(limits: DecodeLimits): DecodeLimits {
  if (inside?.of !== limits) inside = { of: limits, limits: { ...limits, maxDepth: limits.maxDepth - 1 } };
  return inside.limits;
}

const nothing = (): Record<string, null> => ({ callbacks: null, errbacks: null, chain: null, chord: null });
