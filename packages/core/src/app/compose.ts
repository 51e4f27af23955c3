/**
 * The ways to compose signatures, typed so that a step that cannot take what comes before it does not compile.
 * What they make is Celery's canvas: any worker of either language can run any part of it.
 */
import { chainSignature, chordSignature, chunksSignature, groupSignature, mapSignature, readSignature } from "../canvas/signature-data.ts";
import type { SignatureData } from "../protocol/signature.ts";
import type { Lovage } from "./app.ts";
import { CallError } from "./errors.ts";
import { currentApp } from "./process-wide.ts";
import { type Kind, Signature } from "./signature.ts";

/** A signature as a part of another one: it takes `In` in front of its arguments and returns `Out`. */
export interface Part<In, Out, IsGroup extends Kind = Kind> {
  readonly app: Lovage;
  readonly accepts: (input: In) => void;
  readonly returns: Out;
  readonly isGroup: IsGroup;
  toJSON(): SignatureData;
}

/** Any signature, whatever it takes and returns. */
export type AnyPart = Part<never, unknown>;

type OutsOf<List extends readonly AnyPart[]> = { -readonly [Index in keyof List]: List[Index]["returns"] };
/** What all of them take. */
type InOfAll<List extends readonly AnyPart[]> = [List[number]] extends [{ readonly accepts: (input: infer In) => void }] ? In : never;

/**
 * One after the other: each step is called with the result of the one before it, in front of its own arguments.
 * Waiting for it is waiting for its last step. A group in the middle is the header of a chord: what follows it is called
 * once, with the list of its results.
 */
export function chain<In, A, G extends Kind>(a: Part<In, A, G>): Signature<In, A, G>;
export function chain<In, A, B, G extends Kind>(a: Part<In, A>, b: Part<[A], B, G>): Signature<In, B, G>;
export function chain<In, A, B, C, G extends Kind>(a: Part<In, A>, b: Part<[A], B>, c: Part<[B], C, G>): Signature<In, C, G>;
export function chain<In, A, B, C, D, G extends Kind>(
  a: Part<In, A>,
  b: Part<[A], B>,
  c: Part<[B], C>,
  d: Part<[C], D, G>,
): Signature<In, D, G>;
export function chain<In, A, B, C, D, E, G extends Kind>(
  a: Part<In, A>,
  b: Part<[A], B>,
  c: Part<[B], C>,
  d: Part<[C], D>,
  e: Part<[D], E, G>,
): Signature<In, E, G>;
export function chain<In, A, B, C, D, E, F, G extends Kind>(
  a: Part<In, A>,
  b: Part<[A], B>,
  c: Part<[B], C>,
  d: Part<[C], D>,
  e: Part<[D], E>,
  f: Part<[E], F, G>,
): Signature<In, F, G>;
/** Steps made at run time, all of one kind: each returns what the next one takes. */
export function chain<T>(steps: readonly Part<[T], T, false | "chord">[]): Signature<[T], T>;
export function chain(...given: readonly AnyPart[] | readonly [readonly AnyPart[]]): Signature<never, unknown, Kind> {
  const steps = (given.length === 1 && Array.isArray(given[0]) ? given[0] : given) as readonly AnyPart[];
  const signatures = partsIn(steps, "chain");
  return new Signature(appOf(steps), chainSignature(signatures));
}

/** All at once, in any order. Its result is the list of theirs, in the order they are written. */
export function group<const List extends readonly AnyPart[]>(members: List, app?: Lovage): Signature<InOfAll<List>, OutsOf<List>, true> {
  const signatures = partsIn(members, "group");
  return new Signature(app ?? appOf(members), groupSignature(signatures));
}

/** A chord whose body is a group ends in that. */
type ChordKind<Body> = Body extends true ? true : "chord";

/** A group whose results go to a body: it is called once, with their list, when all members have succeeded. */
export function chord<const List extends readonly AnyPart[], Out, G extends Kind>(
  header: List,
  body: Part<[OutsOf<List>], Out, G>,
): Signature<InOfAll<List>, Out, ChordKind<G>>;
export function chord<In, Outs, Out, G extends Kind>(
  header: Part<In, Outs, true>,
  body: Part<[Outs], Out, G>,
): Signature<In, Out, ChordKind<G>>;
export function chord(header: readonly AnyPart[] | AnyPart, body: Part<never, unknown>): Signature<never, unknown, Kind> {
  const data = Array.isArray(header) ? groupSignature(partsIn(header, "chord")) : partIn(header, "the header of a chord");
  const members = data.subtask_type === "group" || data.subtask_type === "chunks" ? data : groupSignature([data]);
  const end = partIn(body, "the body of a chord");
  return new Signature(body.app, chordSignature(members, end));
}

/** One message that calls the task with each item, in turn, in one worker. */
export function map<Item, Out>(task: Part<[Item], Out, false>, items: readonly Item[]): Signature<unknown, Out[]> {
  return new Signature(task.app, mapSignature("map", task.toJSON(), items));
}

/** As `map`, with each item's elements as the arguments. */
export function starmap<Items extends readonly unknown[], Out>(
  task: Part<Items, Out, false>,
  items: readonly Items[],
): Signature<unknown, Out[]> {
  return new Signature(task.app, mapSignature("starmap", task.toJSON(), items));
}

/** Many calls in few messages: a group of `starmap`s of `size` items each. */
export function chunks<Items extends readonly unknown[], Out>(
  task: Part<Items, Out, false>,
  items: readonly Items[],
  size: number,
): Signature<unknown, Out[][], true> {
  if (!Number.isInteger(size) || size < 1)
    throw new CallError(task.toJSON().task, `the size of chunks is ${size}: it takes a whole number above 0`);
  return new Signature(task.app, chunksSignature(task.toJSON(), items, size));
}

/** For those who have no compiler. @throws CallError */
function partsIn(parts: unknown, what: string): SignatureData[] {
  if (!Array.isArray(parts)) throw new CallError("", `a ${what} takes a list of signatures`);
  return parts.map((part, i) => partIn(part, `part ${i} of a ${what}`));
}

function partIn(part: unknown, what: string): SignatureData {
  if (part instanceof Signature) return part.data;
  const toJSON = typeof part === "object" && part !== null && "toJSON" in part ? part.toJSON : undefined;
  if (typeof toJSON !== "function") throw new CallError("", `${what} is no signature: make one with task.s(...)`);
  return readSignature(toJSON.call(part), what); // of another copy of this module
}

function appOf(parts: readonly AnyPart[]): Lovage {
  const app = parts[0]?.app ?? currentApp();
  if (app === undefined) throw new CallError("", "a group of nothing belongs to no app: make an app first");
  return app;
}
