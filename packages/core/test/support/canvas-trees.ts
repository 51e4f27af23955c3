/**
 * Random workflows, and what must come of each: the truth table of docs/canvas.md as a pure function. It knows nothing of
 * messages: it walks the tree as a reader of the table would.
 */
import { createHash } from "node:crypto";
import { chainSignature, chordSignature, groupSignature, taskSignature } from "../../src/canvas/signature-data.ts";
import type { SignatureData } from "../../src/protocol/signature.ts";
import type { Chance } from "../simulation/chance.ts";

export const FATES = [
  "succeeds", "fails", "rejects", "retries", "retriesThenFails", "timesOut", "expires", "revoked", "losesWorker", "losesWorkerEarly",
] as const; // prettier-ignore
export type Fate = (typeof FATES)[number];

export type Tree = TaskNode | ChainNode | GroupNode | ChordNode;
interface Node {
  /** Labels of error callbacks. */
  readonly errbacks: readonly string[];
}
export interface TaskNode extends Node {
  readonly kind: "task";
  readonly id: string;
  readonly fate: Fate;
  /** Ids of tasks that are called with its value. */
  readonly callbacks: readonly string[];
}
interface ChainNode extends Node {
  readonly kind: "chain";
  readonly steps: readonly Tree[];
}
interface GroupNode extends Node {
  readonly kind: "group";
  readonly members: readonly Tree[];
}
interface ChordNode extends Node {
  readonly kind: "chord";
  readonly header: readonly Tree[];
  readonly body: Tree;
}

export interface TreeOptions {
  readonly depth: number;
  readonly maxNodes: number;
  readonly fates: Readonly<Partial<Record<Fate, number>>>;
  /** In front of every id. */
  readonly name: string;
}

// --- growing one -----------------------------------------------------------------------------------------------------

export function randomTree(chance: Chance, { depth, maxNodes, fates, name }: TreeOptions): Tree {
  let nodes = 0;
  let labels = 0;
  const mostWide = chance.pick([3, 4, 6]);
  const errbacks = (oneIn: number): string[] => (chance.one(oneIn) ? [`${name}.e${++labels}`] : []);
  const task = (): TaskNode => {
    nodes += 1;
    const id = `${name}.t${nodes}`;
    const callbacks = chance.one(12) ? [`${id}.cb1`, ...(chance.one(2) ? [`${id}.cb2`] : [])] : [];
    return { kind: "task", id, fate: chance.weighted(fates as Record<Fate, number>), callbacks, errbacks: errbacks(6) };
  };
  const several = (left: number, most: number): Tree[] => {
    const count = chance.whole(1, most);
    const all: Tree[] = [];
    for (let i = 0; i < count; i++) if (i === 0 || nodes < maxNodes) all.push(grow(left));
    return all;
  };
  const grow = (left: number): Tree => {
    const isLeaf = left === 0 || nodes >= maxNodes || (left < depth && chance.one(2));
    if (isLeaf) return task();
    switch (chance.weighted({ chain: 4, group: 2, chord: 3 })) {
      case "chain":
        return { kind: "chain", steps: several(left - 1, 4), errbacks: errbacks(4) };
      case "group":
        return { kind: "group", members: several(left - 1, mostWide), errbacks: errbacks(6) };
      case "chord":
        return { kind: "chord", header: several(left - 1, mostWide), body: grow(left - 1), errbacks: errbacks(3) };
    }
  };
  return grow(depth);
}

/** The task `run` is called with what comes before it, its id and its fate; `errback` with the id of what failed and its label. */
export function signatureOf(tree: Tree, tasks: { readonly run: string; readonly errback: string }): SignatureData {
  const again = (each: Tree): SignatureData => signatureOf(each, tasks);
  const links = tree.errbacks.map((label) => taskSignature(tasks.errback, [label]));
  const options = links.length === 0 ? {} : { link_error: links };
  switch (tree.kind) {
    case "task": {
      const link = tree.callbacks.map((id) => taskSignature(tasks.run, [id, "succeeds"], {}, { task_id: id }));
      return taskSignature(
        tasks.run,
        [tree.id, tree.fate],
        {},
        {
          ...options,
          task_id: tree.id,
          ...(link.length > 0 && { link }),
          ...(tree.fate === "expires" && { expires: "2020-01-01T00:00:00+00:00" }),
        },
      );
    }
    case "chain":
      return chainSignature(tree.steps.map(again), options);
    case "group":
      return groupSignature(tree.members.map(again), options);
    case "chord":
      return chordSignature(groupSignature(tree.header.map(again)), again(tree.body), options);
  }
}

export function tasksIn(tree: Tree): readonly TaskNode[] {
  switch (tree.kind) {
    case "task":
      return [tree];
    case "chain":
      return tree.steps.flatMap(tasksIn);
    case "group":
      return tree.members.flatMap(tasksIn);
    case "chord":
      return [...tree.header, tree.body].flatMap(tasksIn);
  }
}

/** `chain(t1, chord[t2 fails, t3](t4 ~e1))`: for who reads why a test failed. */
export function told(tree: Tree): string {
  const errbacks = tree.errbacks.map((label) => ` ~${label}`).join("");
  const list = (all: readonly Tree[]): string => all.map(told).join(", ");
  switch (tree.kind) {
    case "task":
      return `${tree.id}${tree.fate === "succeeds" ? "" : ` ${tree.fate}`}${tree.callbacks.length > 0 ? " +" : ""}${errbacks}`;
    case "chain":
      return `chain(${list(tree.steps)})${errbacks}`;
    case "group":
      return `group[${list(tree.members)}]${errbacks}`;
    case "chord":
      return `chord[${list(tree.header)}](${told(tree.body)})${errbacks}`;
  }
}

// --- what must come of it --------------------------------------------------------------------------------------------

/** What a task answers with: it tells what it was called with. */
export const valueOf = (id: string, input: readonly unknown[]): string =>
  `${id}:${createHash("sha1").update(JSON.stringify(input)).digest("hex").slice(0, 10)}`;

export interface Prediction {
  /** Each task that is published, once, with the arguments that come before its own; all others never. */
  readonly calls: ReadonlyMap<string, readonly unknown[]>;
  /** `label < id of what failed`: each is published once. */
  readonly errbacks: ReadonlySet<string>;
  /** What is stored of each task, also of those that never run. */
  readonly states: ReadonlyMap<string, State>;
  /** Of which a later task depends: chord's first task of the body -> tasks whose end it waits for. */
  readonly waits: ReadonlyMap<string, readonly string[]>;
}
export type State = "SUCCESS" | "FAILURE" | "REVOKED";
type End = { readonly value: unknown } | { readonly state: "FAILURE" | "REVOKED" };

const STATES: Readonly<Record<Fate, State>> = {
  succeeds: "SUCCESS", retries: "SUCCESS", losesWorker: "SUCCESS", fails: "FAILURE", rejects: "FAILURE", retriesThenFails: "FAILURE",
  timesOut: "FAILURE", losesWorkerEarly: "FAILURE", expires: "REVOKED", revoked: "REVOKED",
}; // prettier-ignore

export function predict(tree: Tree): Prediction {
  const oracle = new Oracle();
  oracle.run(tree, [], []);
  return oracle;
}

class Oracle implements Prediction {
  readonly calls = new Map<string, readonly unknown[]>();
  readonly errbacks = new Set<string>();
  readonly states = new Map<string, State>();
  readonly waits = new Map<string, readonly string[]>();

  /** `around`: error callbacks that those around it gave it. */
  run(tree: Tree, input: readonly unknown[], around: readonly string[]): End {
    switch (tree.kind) {
      case "task":
        return this.#task(tree, input, around);
      case "chain":
        return this.#steps(running(tree, around), input);
      case "group":
        return this.#all(flat(tree, around), input);
      case "chord":
        return this.#steps([withErrbacks(tree, around)], input);
    }
  }

  #task({ id, fate, callbacks, errbacks }: TaskNode, input: readonly unknown[], around: readonly string[]): End {
    this.calls.set(id, input);
    const state = STATES[fate];
    this.states.set(id, state);
    if (state === "SUCCESS") {
      const value = valueOf(id, input);
      for (const callback of callbacks) {
        this.calls.set(callback, [value]);
        this.states.set(callback, "SUCCESS");
      }
      return { value };
    }
    if (state === "FAILURE") for (const label of [...errbacks, ...around]) this.errbacks.add(`${label} < ${id}`);
    return { state };
  }

  /** All of them, whatever becomes of the others. */
  #all(members: readonly Tree[], input: readonly unknown[]): End {
    const ends = members.map((member) => this.run(member, input, []));
    const values: unknown[] = [];
    for (const end of ends) {
      if ("state" in end) return { state: "FAILURE" };
      values.push(end.value);
    }
    return { value: values };
  }

  /** One after the other. A group that is followed by something is a header, and that is its body. */
  #steps(steps: readonly Tree[], input: readonly unknown[]): End {
    const [first, ...rest] = steps;
    if (first === undefined) return { value: input };
    if (first.kind === "chain") return this.#steps([...running(first, []), ...rest], input);
    if (first.kind === "group" && rest.length > 0) return this.#chord(flat(first, []), input, rest, []);
    if (first.kind === "chord") {
      const header = flat({ kind: "group", members: first.header, errbacks: [] }, []);
      return this.#chord(header, input, [withErrbacks(first.body, first.errbacks)], rest);
    }
    const end = this.run(first, input, []);
    if (!("state" in end)) return rest.length === 0 ? end : this.#steps(rest, [end.value]);
    for (const step of rest) this.#abandon(step, end.state);
    return end;
  }

  #chord(header: readonly Tree[], input: readonly unknown[], body: readonly Tree[], after: readonly Tree[]): End {
    const end = this.#all(header, input);
    const rest = [...body, ...after];
    if (!("state" in end)) {
      for (const { id } of firstTasks(rest[0] as Tree))
        this.waits.set(
          id,
          header.flatMap(tasksIn).map((task) => task.id),
        );
      return this.#steps(rest, [end.value]);
    }
    this.#errbacksOf(body);
    for (const each of rest) this.#abandon(each, "FAILURE");
    return { state: "FAILURE" };
  }

  /** Of a body that cannot be called: those of the task that its result would have come from, so far as it is one thing. */
  #errbacksOf([body, ...rest]: readonly Tree[]): void {
    if (body === undefined) return;
    switch (body.kind) {
      case "task":
        for (const label of body.errbacks) this.errbacks.add(`${label} < ${body.id}`);
        return;
      case "chain":
        return this.#errbacksOf(running(body, []).slice(-1));
      case "group":
        if (rest.length > 0) return this.#errbacksOf(rest); // it is the header of what follows
        for (const member of flat(body, [])) this.#errbacksOf([member]);
        return;
      case "chord":
        return this.#errbacksOf([withErrbacks(body.body, body.errbacks)]);
    }
  }

  #abandon(tree: Tree, state: "FAILURE" | "REVOKED"): void {
    for (const { id } of tasksIn(tree)) this.states.set(id, state);
  }
}

/** Steps with chains in chains spliced in, groups of one unrolled, and each with the error callbacks that it has from the chain. */
function running(chain: ChainNode, around: readonly string[]): readonly Tree[] {
  const spliced = chain.steps.flatMap(splice);
  const errbacks = [...chain.errbacks, ...around];
  // The failure of a header is its body's: only what stands for the chain itself has the chain's error callbacks.
  return spliced.map((step, i) => (step.kind === "group" && i < spliced.length - 1 ? step : withErrbacks(step, errbacks)));
}

function splice(step: Tree): readonly Tree[] {
  if (step.kind === "chain") return running(step, []);
  if (step.kind !== "group") return [step];
  const members = flat({ ...step, errbacks: [] }, []);
  return members.length === 1 ? splice(withErrbacks(members[0] as Tree, step.errbacks)) : [step];
}

/** Groups in a group are one. */
function flat({ members, errbacks }: GroupNode, around: readonly string[]): readonly Tree[] {
  return members.flatMap((member) => {
    const all = [...errbacks, ...around];
    return member.kind === "group" ? flat(member, all) : [withErrbacks(member, all)];
  });
}

function withErrbacks<T extends Tree>(tree: T, more: readonly string[]): T {
  return more.length === 0 ? tree : { ...tree, errbacks: [...new Set([...tree.errbacks, ...more])] };
}

/** That begin as soon as it is called. */
function firstTasks(tree: Tree): readonly TaskNode[] {
  switch (tree.kind) {
    case "task":
      return [tree];
    case "chain":
      return firstTasks(running(tree, [])[0] as Tree);
    case "group":
      return tree.members.flatMap(firstTasks);
    case "chord":
      return tree.header.flatMap(firstTasks);
  }
}
