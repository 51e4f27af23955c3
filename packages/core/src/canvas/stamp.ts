/**
 * Stamps: headers that a signature and all that follows from it carry (celery-protocol 7.8). Flat among the options, named in
 * `stamped_headers`. Who is asked what, and which of two values stays, is as in Celery's canvas.py (`stamp`, `_stamp_headers`).
 */
import type { SignatureData } from "../protocol/signature.ts";
import { groupSignature, isMap, linksIn, namesIn, shapeOf, type SignatureOptions } from "./signature-data.ts";

/** By name. With `stamped_headers` among them only those that it lists are stamps; the others are options of the call. */
export type Stamps = Readonly<Record<string, unknown>>;

type Ask = (signature: SignatureData, stamps: Stamps) => Stamps | undefined | void;

/** Asked for each part of a workflow; what it answers is added to the stamps of that part, and of all that is inside of it. */
export interface StampVisitor {
  readonly onSignature: Ask;
  readonly onGroupStart?: Ask;
  readonly onGroupEnd?: (group: SignatureData, stamps: Stamps) => void;
  readonly onChainStart?: Ask;
  readonly onChainEnd?: (chain: SignatureData, stamps: Stamps) => void;
  /** Given the chord. Default: `onGroupStart` with its header. What it answers is for the body too. */
  readonly onChordHeaderStart?: Ask;
  readonly onChordHeaderEnd?: (chord: SignatureData, stamps: Stamps) => void;
  /** Given the chord. */
  readonly onChordBody?: Ask;
  readonly onCallback?: Ask;
  readonly onErrback?: Ask;
}

export interface StampRules {
  readonly visitor?: StampVisitor | undefined;
  /** A stamp that is there already: both values become a list. Default false: the new one takes its place. */
  readonly append?: boolean | undefined;
}

/** Every task in it, its callbacks and error callbacks included. */
export function stamped(signature: SignatureData, stamps: Stamps, rules: StampRules = {}): SignatureData {
  const { visitor } = rules;
  const shape = shapeOf(signature);
  const own = signature.options;
  switch (shape.kind) {
    case "task": {
      const linked = withStampedLinks(signature, stamps, rules);
      const all = merged(own, stamps, visitor?.onSignature(signature, stamps) ?? (visitor && {}), rules, true);
      return namesIn(all.stamped_headers).length === 0 ? linked : { ...linked, options: { ...linked.options, ...all } };
    }
    case "chain": {
      const all = merged(own, stamps, visitor && (visitor.onChainStart?.(signature, stamps) ?? {}), rules, true);
      const linked = withStampedLinks(signature, all, { visitor });
      const tasks = shape.steps.map((step) => stamped(step, all, rules));
      visitor?.onChainEnd?.(signature, all);
      return { ...linked, kwargs: { ...signature.kwargs, tasks } };
    }
    case "group": {
      const all = merged(own, stamps, visitor && (visitor.onGroupStart?.(signature, stamps) ?? {}), rules, true);
      const linked = withStampedLinks(signature, all, rules);
      const members = shape.members.map((each) => stamped(each, all, rules)); // of chunks the group that they are sent as
      visitor?.onGroupEnd?.(signature, all);
      return groupSignature(members, linked.options);
    }
    case "chord":
      return stampedChord(signature, shape.header, shape.body, stamps, rules);
  }
}

function stampedChord(
  signature: SignatureData,
  header: SignatureData,
  body: SignatureData,
  stamps: Stamps,
  rules: StampRules,
): SignatureData {
  const { visitor } = rules;
  const { onChordHeaderStart, onGroupStart, onChordHeaderEnd, onGroupEnd } = visitor ?? {};
  const asked = onChordHeaderStart ? onChordHeaderStart.call(visitor, signature, stamps) : onGroupStart?.call(visitor, header, stamps);
  const all = merged(signature.options, stamps, visitor && (asked ?? {}), rules, true);
  const linked = withStampedLinks(signature, all, rules);
  const shape = shapeOf(header);
  const members = (shape.kind === "group" ? shape.members : [header]).map((member) => stamped(member, all, rules));
  if (onChordHeaderEnd) onChordHeaderEnd.call(visitor, signature, all);
  else onGroupEnd?.call(visitor, header, all);
  const forBody = visitor === undefined ? all : merged(signature.options, all, visitor.onChordBody?.(signature, all) ?? {}, rules, true);
  return {
    ...linked,
    kwargs: {
      ...signature.kwargs,
      header: { ...header, kwargs: { ...header.kwargs, tasks: members } },
      body: stamped(body, forBody, rules),
    },
  };
}

/** What one visit answers for a callback is for those after it too, as in Celery. */
function withStampedLinks(signature: SignatureData, stamps: Stamps, rules: StampRules): SignatureData {
  const { visitor } = rules;
  let { options } = signature;
  for (const name of ["link", "link_error"] as const) {
    if (options[name] === undefined || options[name] === null) continue;
    const ask = name === "link" ? visitor?.onCallback : visitor?.onErrback;
    let all = stamps;
    const links = linksIn(options, name).map((link) => {
      all = merged(signature.options, all, visitor && (ask?.call(visitor, link, all) ?? {}), rules, false);
      return stamped(link, all, rules);
    });
    options = { ...options, [name]: links };
  }
  return { ...signature, options };
}

/** @param withOwn those that the signature has already count too */
function merged(
  own: SignatureOptions,
  stamps: Stamps,
  asked: Stamps | undefined,
  { append = false }: StampRules,
  withOwn: boolean,
): Stamps {
  let all = named(stamps);
  if (asked !== undefined) all = once(combined(all, named(asked), append));
  if (!withOwn) return all;
  const names = [...new Set([...namesIn(all.stamped_headers), ...namesIn(own.stamped_headers)])];
  const there = Object.fromEntries(names.filter((name) => Object.hasOwn(own, name)).map((name) => [name, own[name]]));
  return combined({ ...all, stamped_headers: names }, there, append);
}

function named(stamps: Stamps): Stamps {
  return "stamped_headers" in stamps ? stamps : { ...stamps, stamped_headers: Object.keys(stamps) };
}

function once(stamps: Stamps): Stamps {
  return { ...stamps, stamped_headers: [...new Set(namesIn(stamps.stamped_headers))] };
}

/** Of two values of one name the first stays; two lists become one, and with `append` any two do. */
function combined(first: Stamps, second: Stamps, append: boolean): Stamps {
  const all: Record<string, unknown> = { ...second, ...first };
  for (const [name, value] of Object.entries(first)) {
    if (!Object.hasOwn(second, name)) continue;
    const other = second[name];
    if (isMap(value)) all[name] = isMap(other) ? combined(value, other, true) : value;
    else if (Array.isArray(value) || append) all[name] = joined(value, other, append);
  }
  return all;
}

function joined(value: unknown, other: unknown, append: boolean): readonly unknown[] {
  const list = Array.isArray(value) ? (value as readonly unknown[]) : value === null || value === undefined ? [] : [value];
  if (Array.isArray(other)) return [...list, ...(other as readonly unknown[])];
  return append ? [...list, other] : list;
}
