/**
 * The tree of tasks below a result, as their documents tell it: what each has sent, level by level, in order (Celery's
 * `iterdeps`, `collect`, `graph`).
 */
import { isReady } from "../protocol/states.ts";
import type { GetOptions } from "./async-result.ts";
import { IncompleteStreamError } from "./errors.ts";
import type { AnyResult } from "./group-result.ts";

export interface Collected {
  readonly result: AnyResult;
  /** Of a group the list of its members'; with `propagate: false` an error. */
  readonly value: unknown;
}

export interface GraphNode {
  readonly id: string;
  readonly kind: "task" | "group";
  /** Of a task. PENDING: nothing is known. */
  readonly state: string | undefined;
  /** Where results are extended. */
  readonly task: string | undefined;
}

/** `from` sent `to`, or came before it; of a group to its members. */
export interface GraphEdge {
  readonly from: string;
  readonly to: string;
}

export interface GraphOptions {
  /** Also where a task has not ended, and what it will send is not known yet. Default false: IncompleteStreamError. */
  readonly intermediate?: boolean;
  /** So many nodes at most; more are left out. Default 10,000. */
  readonly limit?: number;
}

/** Reads of one level at once. */
const PAGE = 1000;

/** Each result with its value, this one first, waiting for each. @throws as `get()` does */
export async function* collect(root: AnyResult, options: GetOptions): AsyncGenerator<Collected, void, undefined> {
  const seen = new Set<string>();
  const queue: AnyResult[] = [root];
  for (let at = 0; at < queue.length; at++) {
    const result = queue[at] as AnyResult;
    if (seen.has(result.id)) continue; // a task that was retried, or replaced, has sent itself
    seen.add(result.id);
    yield { result, value: await result.get(options) };
    for (const child of await childrenOf(result)) queue.push(child);
  }
}

async function childrenOf(result: AnyResult): Promise<readonly AnyResult[]> {
  return "results" in result ? result.results : await result.children();
}

export class ResultGraph {
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
  /** There was more than `limit`. */
  readonly isCut: boolean;

  constructor(nodes: readonly GraphNode[], edges: readonly GraphEdge[], isCut: boolean) {
    this.nodes = nodes;
    this.edges = edges;
    this.isCut = isCut;
  }

  /** For Graphviz: `dot -Tsvg`. */
  toDot(): string {
    const nodes = this.nodes.map(({ id, kind, state, task }) => {
      const label = [task ?? (kind === "group" ? "group" : id), state].filter((each) => each !== undefined).join("\\n");
      return `  ${dotText(id)} [label=${dotText(label)}${kind === "group" ? " shape=box" : ""}];`;
    });
    const edges = this.edges.map(({ from, to }) => `  ${dotText(from)} -> ${dotText(to)};`);
    return ["digraph workflow {", ...nodes, ...edges, "}", ""].join("\n");
  }
}

const dotText = (text: string): string => `"${text.replaceAll('"', '\\"')}"`;

/** From its first known ancestor on. @throws IncompleteStreamError */
export async function graphOf(result: AnyResult, { intermediate = false, limit = 10_000 }: GraphOptions): Promise<ResultGraph> {
  const nodes = new Map<string, GraphNode>();
  const edges = new Map<string, GraphEdge>();
  let level: readonly AnyResult[] = [];
  const link = (from: AnyResult, to: AnyResult): void => {
    if (from.id !== to.id) edges.set(`${from.id} ${to.id}`, { from: from.id, to: to.id });
  };
  const line: AnyResult[] = [];
  for (let each: AnyResult | undefined = result; each !== undefined; each = each.parent) line.push(each);
  for (const each of line) if (each.parent !== undefined) link(each.parent, each);
  level = line.toReversed();
  let isCut = false;
  while (level.length > 0 && !isCut) {
    const next: AnyResult[] = [];
    const fresh = [...new Map(level.map((each) => [each.id, each])).values()].filter(({ id }) => !nodes.has(id));
    for (let from = 0; from < fresh.length && !isCut; from += PAGE) {
      const page = fresh.slice(from, from + Math.min(PAGE, limit - nodes.size));
      isCut = page.length < Math.min(PAGE, fresh.length - from);
      const looked = await Promise.all(page.map(async (each) => ({ each, node: await nodeOf(each), children: await childrenOf(each) })));
      for (const { each, node, children } of looked) {
        if (!intermediate && node.kind === "task" && !isReady(node.state ?? ""))
          throw new IncompleteStreamError(each.id, node.state ?? "PENDING");
        nodes.set(node.id, node);
        for (const child of children) {
          link(each, child);
          next.push(child);
        }
      }
    }
    level = next;
  }
  return new ResultGraph(
    [...nodes.values()],
    [...edges.values()].filter(({ from, to }) => nodes.has(from) && nodes.has(to)),
    isCut,
  );
}

async function nodeOf(result: AnyResult): Promise<GraphNode> {
  if ("results" in result) return { id: result.id, kind: "group", state: undefined, task: undefined };
  const document = await result.info();
  return { id: result.id, kind: "task", state: document?.state ?? "PENDING", task: document?.extended?.name };
}
