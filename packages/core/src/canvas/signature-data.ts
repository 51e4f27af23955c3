/**
 * Signatures as plain data, in Celery's spelling (celery-protocol 7.1): making them, reading foreign ones, and merging
 * what a call adds. Nothing here changes a signature: each function answers with a new one.
 */
import { ProtocolError } from "../protocol/errors.ts";
import type { SignatureData } from "../protocol/signature.ts";

export type SignatureOptions = Readonly<Record<string, unknown>>;
type Kwargs = Readonly<Record<string, unknown>>;

/** What a signature is, whichever way it was written. */
export type SignatureShape =
  | { readonly kind: "task" }
  | { readonly kind: "chain"; readonly steps: readonly SignatureData[] }
  | { readonly kind: "group"; readonly members: readonly SignatureData[] }
  | { readonly kind: "chord"; readonly header: SignatureData; readonly body: SignatureData };

const NO_KWARGS: Kwargs = Object.freeze({});

export function taskSignature(
  task: string,
  args: readonly unknown[] = [],
  kwargs: Kwargs = NO_KWARGS,
  options: SignatureOptions = {},
  immutable = false,
): SignatureData {
  return { task, args, kwargs, options, subtask_type: null, immutable };
}

export function chainSignature(tasks: readonly SignatureData[], options: SignatureOptions = {}): SignatureData {
  return { task: "celery.chain", args: [], kwargs: { tasks }, options, subtask_type: "chain", immutable: false };
}

export function groupSignature(tasks: readonly SignatureData[], options: SignatureOptions = {}): SignatureData {
  return { task: "celery.group", args: [], kwargs: { tasks }, options, subtask_type: "group", immutable: false };
}

export function chordSignature(header: SignatureData, body: SignatureData, options: SignatureOptions = {}): SignatureData {
  return { task: "celery.chord", args: [], kwargs: { header, body, kwargs: {} }, options, subtask_type: "chord", immutable: false };
}

/** `celery.map` calls the task with each item, `celery.starmap` with each item's elements. */
export function mapSignature(
  kind: "map" | "starmap",
  task: SignatureData,
  it: readonly unknown[],
  options: SignatureOptions = {},
): SignatureData {
  return { task: `celery.${kind}`, args: [], kwargs: { task, it }, options, subtask_type: `x${kind}`, immutable: true };
}

export function chunksSignature(task: SignatureData, it: readonly unknown[], n: number): SignatureData {
  return { task: "celery.chunks", args: [], kwargs: { task, it, n }, options: {}, subtask_type: "chunks", immutable: true };
}

/** Reads what another program wrote; what is left out has its default. @throws ProtocolError that names the place */
export function readSignature(value: unknown, where = "signature"): SignatureData {
  if (!isMap(value)) throw new ProtocolError("malformed", where, "not an object");
  const { task, args = [], kwargs = {}, options = {}, subtask_type: type = null, immutable = false } = value;
  if (typeof task !== "string" || task === "") throw new ProtocolError("malformed", `${where}.task`, "not text");
  if (!Array.isArray(args)) throw new ProtocolError("malformed", `${where}.args`, "not a list");
  if (!isMap(kwargs)) throw new ProtocolError("malformed", `${where}.kwargs`, "not an object");
  if (!isMap(options)) throw new ProtocolError("malformed", `${where}.options`, "not an object");
  return { task, args, kwargs, options, subtask_type: typeof type === "string" ? type : null, immutable: immutable === true };
}

/** @throws ProtocolError when its parts are missing or malformed */
export function shapeOf(signature: SignatureData): SignatureShape {
  const { kwargs } = signature;
  switch (signature.subtask_type) {
    case "chain":
      return { kind: "chain", steps: signaturesIn(kwargs.tasks, "chain.tasks") };
    case "group":
      return { kind: "group", members: signaturesIn(kwargs.tasks, "group.tasks") };
    case "chord":
      return { kind: "chord", header: headerOf(kwargs.header), body: readSignature(kwargs.body, "chord.body") };
    case "chunks":
      return { kind: "group", members: membersOfChunks(kwargs) };
    default:
      return { kind: "task" };
  }
}

/** Chunks are sent as a group of `celery.starmap`, one for each run of items. */
function membersOfChunks({ task, it, n }: Kwargs): readonly SignatureData[] {
  const inner = readSignature(task, "chunks.task");
  const items = listIn(it, "chunks.it");
  if (typeof n !== "number" || !Number.isInteger(n) || n < 1)
    throw new ProtocolError("malformed", "chunks.n", "not a whole number above 0");
  const members: SignatureData[] = [];
  for (let from = 0; from < items.length; from += n) members.push(mapSignature("starmap", inner, items.slice(from, from + n)));
  return members;
}

/** A group, or a bare list of its members. */
function headerOf(header: unknown): SignatureData {
  if (Array.isArray(header)) return groupSignature(signaturesIn(header, "chord.header"));
  const signature = readSignature(header, "chord.header");
  return signature.subtask_type === "group" ? signature : groupSignature([signature]);
}

function signaturesIn(value: unknown, where: string): readonly SignatureData[] {
  return listIn(value, where).map((each, i) => readSignature(each, `${where}[${i}]`));
}

function listIn(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new ProtocolError("malformed", where, "not a list");
  return value;
}

/** Once set these stay: another value would stall what waits for the task. A group's id gives way to that of the chord whose part it becomes. */
const LASTING: ReadonlySet<string> = new Set(["group_id", "stamped_headers"]);

/** The signature as it is called: arguments go in front unless it is immutable, options win over its own; null ones are not given. */
export function merged(
  signature: SignatureData,
  args: readonly unknown[],
  kwargs: Kwargs = NO_KWARGS,
  options: SignatureOptions = {},
): SignatureData {
  const { immutable } = signature;
  return {
    ...signature,
    args: immutable || args.length === 0 ? signature.args : [...args, ...signature.args],
    kwargs: immutable || kwargs === NO_KWARGS ? signature.kwargs : { ...signature.kwargs, ...kwargs },
    options: mergedOptions(signature.options, options),
  };
}

export function mergedOptions(own: SignatureOptions, added: SignatureOptions): SignatureOptions {
  const stamps = namesIn(own.stamped_headers);
  const all: Record<string, unknown> = { ...own };
  for (const [name, value] of Object.entries(added)) {
    if (value === null || value === undefined) continue;
    const isLasting = LASTING.has(name) && (name !== "group_id" || added.chord === undefined || added.chord === null);
    if (Object.hasOwn(own, name) && own[name] !== null && (isLasting || stamps.includes(name))) continue;
    all[name] = value;
  }
  return all;
}

/** Signatures under `link` or `link_error`: one, a list, or none. */
export function linksIn(options: SignatureOptions, name: "link" | "link_error"): readonly SignatureData[] {
  const value = options[name];
  if (value === undefined || value === null) return [];
  return (Array.isArray(value) ? value : [value]).map((each, i) => readSignature(each, `options.${name}[${i}]`));
}

/** With one more callback; the same one twice counts once, as in Celery. */
export function withLinks(signature: SignatureData, name: "link" | "link_error", added: readonly SignatureData[]): SignatureData {
  if (added.length === 0) return signature;
  const links = [...linksIn(signature.options, name)];
  const known = new Set(links.map((each) => JSON.stringify(each)));
  for (const each of added) if (!known.has(JSON.stringify(each))) links.push(each);
  return { ...signature, options: { ...signature.options, [name]: links } };
}

export function textIn(options: SignatureOptions, name: string): string | undefined {
  const value = options[name];
  return typeof value === "string" ? value : undefined;
}

export function namesIn(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
}

export function without(options: SignatureOptions, ...names: readonly string[]): SignatureOptions {
  return Object.fromEntries(Object.entries(options).filter(([name]) => !names.includes(name)));
}

export function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
