/**
 * Random workflows for both languages: chains, groups and chords in each other, and what they must come to. Every task says what it
 * was called with, so that the last result tells which results reached which task, and in which order. Left out is what Celery does
 * otherwise (docs/canvas.md): groups directly within groups, a chord of one that something precedes, chords that fail within chords.
 */
import type { Chance } from "../simulation/chance.ts";

export type Tree =
  | { readonly kind: "task"; readonly label: string; readonly fails: boolean }
  | { readonly kind: "chain"; readonly steps: readonly Tree[] }
  | { readonly kind: "group"; readonly members: readonly Tree[] }
  | { readonly kind: "chord"; readonly header: readonly Tree[]; readonly body: Tree };

/** Where each task runs. */
export type Where = (label: string) => "node" | "python";

/** As `python/peer.py` reads it. */
export type WireTree =
  | { readonly task: string; readonly args: readonly unknown[]; readonly queue: string }
  | { readonly chain: readonly WireTree[] }
  | { readonly group: readonly WireTree[] }
  | { readonly chord: readonly [readonly WireTree[], WireTree] };

export class Grower {
  readonly #chance: Chance;
  #labels = 0;

  constructor(chance: Chance) {
    this.#chance = chance;
  }

  /** With one result. With `failing` one of the tasks that begin it fails, where nothing is nested around it. */
  tree(depth: number): Tree {
    const kind = depth <= 1 ? "task" : this.#chance.weighted({ chain: 4, chord: 4, task: depth === 4 ? 0 : 1 });
    if (kind === "task") return this.task();
    return kind === "chain" ? this.#chain(depth) : this.#chord(depth);
  }

  task(fails = false): Tree {
    return { kind: "task", label: `t${this.#labels++}`, fails };
  }

  #chain(depth: number): Tree {
    const steps: Tree[] = [this.#chance.one(3) && depth > 2 ? this.#chord(depth - 1) : this.task()];
    for (let left = this.#chance.whole(1, 3); left > 0; left--) {
      if (depth > 1 && this.#chance.one(3)) steps.push({ kind: "group", members: this.#members(depth - 1) }, this.task());
      else if (depth > 2 && this.#chance.one(4)) steps.push(this.#chord(depth - 1), this.task());
      else steps.push(this.task());
    }
    return { kind: "chain", steps };
  }

  #chord(depth: number): Tree {
    return { kind: "chord", header: this.#members(depth - 1), body: this.#chance.one(3) ? this.#tasks() : this.task() };
  }

  #tasks(): Tree {
    return { kind: "chain", steps: [this.task(), this.task()] };
  }

  #members(depth: number): Tree[] {
    return Array.from({ length: this.#chance.whole(2, 4) }, () => this.tree(depth));
  }
}

/** What it returns when it begins with this. */
export function expected(tree: Tree, given = "start"): string {
  const text = (value: unknown): string => (Array.isArray(value) ? `[${value.map(text).join(",")}]` : String(value));
  const run = (each: Tree, input: unknown): unknown => {
    switch (each.kind) {
      case "task":
        return `${each.label}(${text(input)})`;
      case "chain":
        return each.steps.reduce((value: unknown, step) => run(step, value), input);
      case "group":
        return each.members.map((member) => run(member, input));
      case "chord":
        return run(
          each.body,
          each.header.map((member) => run(member, input)),
        );
    }
  };
  return String(run(tree, given));
}

/** The tree as it is sent; what nothing precedes is given `start`. */
export function wireOf(tree: Tree, where: Where, isFirst = true): WireTree {
  switch (tree.kind) {
    case "task": {
      const queue = where(tree.label);
      return { task: `${queue}.${tree.fails ? "tag_fail" : "tag"}`, args: isFirst ? ["start", tree.label] : [tree.label], queue };
    }
    case "chain":
      return { chain: tree.steps.map((step, i) => wireOf(step, where, isFirst && i === 0)) };
    case "group":
      return { group: tree.members.map((member) => wireOf(member, where, isFirst)) };
    case "chord":
      return { chord: [tree.header.map((member) => wireOf(member, where, isFirst)), wireOf(tree.body, where, false)] };
  }
}

export function labelsOf(tree: Tree): readonly string[] {
  switch (tree.kind) {
    case "task":
      return [tree.label];
    case "chain":
      return tree.steps.flatMap(labelsOf);
    case "group":
      return tree.members.flatMap(labelsOf);
    case "chord":
      return [...tree.header.flatMap(labelsOf), ...labelsOf(tree.body)];
  }
}
