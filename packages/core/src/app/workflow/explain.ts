/**
 * Puts a workflow together from what there is of it: results and the tasks that they say were sent, groups with the parts
 * that have come, messages that wait or are worked on with what they carry along, dead letters. What has expired is not known any more.
 */
import type { ChordPart } from "../../canvas/chord-part.ts";
import { memberId, decodeBatchDocument } from "../../canvas/batch-member.ts";
import { leafIds, type ResultTuple } from "../../canvas/result-tuple.ts";
import { shapeOf, textIn } from "../../canvas/signature-data.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { SignatureData } from "../../protocol/signature.ts";
import { isReady } from "../../protocol/states.ts";
import { BATCH_EVENTS, type BatchRecord } from "../../results/batches.ts";
import type { GroupLook } from "../../results/groups.ts";
import type { Lovage } from "../app.ts";
import { infoOf } from "../batch.ts";
import { ResultsDisabledError, WorkflowUnknownError } from "../errors.ts";
import { bodyOf, errorLine, groupMembersOf, problemOf, tupleOf } from "./facts.ts";
import type { Found, KnownMessage, Whereabouts } from "./find-messages.ts";
import { type Draft, Findings } from "./findings.ts";
import { eachNode, type NodeRole, type WorkflowView } from "./node.ts";

export interface ExplainOptions {
  /** Members of a group or batch that are shown: at most so many. Default 50. */
  readonly limit?: number | undefined;
  /** From this place on. Default 0. */
  readonly first?: number | undefined;
  /** Members that have succeeded too. Default: only of groups of at most `limit`. */
  readonly all?: boolean | undefined;
  /** Queues whose messages are looked through. Default: those of the app. */
  readonly queues?: readonly string[] | undefined;
  /** Messages that are looked at at most. Default 100,000. */
  readonly messages?: number | undefined;
}

const LIMIT = 50;
/** Ancestors, and nodes of a tree. */
const CLIMB = 100;
const NODES = 2000;
const STATES = 10_000;

export class Explainer {
  readonly #app: Lovage;
  readonly #limit: number;
  readonly #first: number;
  readonly #options: ExplainOptions;
  readonly #found: Findings;
  readonly #seen = new Set<string>();
  #nodes = 0;

  constructor(app: Lovage, options: ExplainOptions = {}) {
    this.#app = app;
    this.#options = options;
    this.#found = new Findings(app, options);
    this.#limit = options.limit ?? LIMIT;
    this.#first = options.first ?? 0;
  }

  /** @throws WorkflowUnknownError, ResultsDisabledError */
  async explain(id: string): Promise<WorkflowView> {
    const backend = await this.#app.backend();
    if (backend === undefined) throw new ResultsDisabledError();
    const [batch] = (await backend.batches?.read([id])) ?? [];
    const root = batch === undefined ? ((await this.#groupOf(id, "root")) ?? (await this.#taskTree(id))) : await this.#batch(batch, "root");
    await this.#locate(root);
    const problems = [...eachNode(root)].flatMap(problemOf);
    return {
      id,
      root,
      problems: this.#found.isPartial ? problems.filter(({ problem }) => !problem.includes("gone")) : problems,
      isPartial: this.#found.isPartial,
    };
  }

  // --- batches -----------------------------------------------------------------------------------------------------

  async #batch(record: BatchRecord, role: NodeRole): Promise<Draft> {
    const info = infoOf(record);
    const { total, pending, succeeded, failed, dead } = info;
    const node: Draft = {
      kind: "batch",
      id: record.id,
      role,
      ...(record.place !== undefined && { place: record.place }),
      state: info.state,
      createdAt: info.createdAt,
      doneAt: info.completedAt,
      ...(info.description !== null && { description: info.description }),
      counts: { total, pending, succeeded, failed, dead },
      parts: [],
    };
    if (role !== "root") return node;
    node.parts.push(...(await this.#batchMembers(record, total)));
    node.hidden = total - node.parts.length;
    const { callbacks } = decodeBatchDocument(record.document);
    const roles: Readonly<Record<(typeof BATCH_EVENTS)[number], NodeRole>> = {
      success: "onSuccess",
      complete: "onComplete",
      death: "onDeath",
    };
    const at = { success: record.succeededAt, complete: record.completedAt, death: record.diedAt };
    for (const event of BATCH_EVENTS) {
      const callback = callbacks[event];
      if (callback !== undefined) node.parts.push(await this.#signature(callback, roles[event], at[event] === undefined));
    }
    return node;
  }

  async #batchMembers(record: BatchRecord, total: number): Promise<Draft[]> {
    const batches = (await this.#app.backend())?.batches;
    if (batches === undefined) return [];
    const all = this.#options.all ?? total <= this.#limit;
    const places: number[] = [];
    for (let from = this.#first; from < record.places && places.length < this.#limit; from += STATES) {
      const states = await batches.states(record.id, from, STATES);
      for (const [i, state] of states.entries()) if ((all || state !== "succeeded") && places.length < this.#limit) places.push(from + i);
    }
    const [lowest = 0] = places;
    const children = new Map((await batches.children(record.id, lowest, STATES)).map(({ place, id }) => [place, id]));
    const ids = places.map((place) => children.get(place) ?? memberId({ batchId: record.id, place }));
    await this.#found.read(ids);
    const kin = await batches.read(ids.filter((_, i) => children.has(places[i] as number)));
    const records = new Map(kin.flatMap((each) => (each === undefined ? [] : [[each.id, each] as const])));
    return await Promise.all(
      places.map(async (place, i) => {
        const id = ids[i] as string;
        const child = records.get(id);
        return child === undefined ? this.#found.task(id, "member", place) : await this.#batch(child, "member");
      }),
    );
  }

  // --- groups and chords -------------------------------------------------------------------------------------------

  /** undefined: nothing is known of a group of that id. */
  async #groupOf(id: string, role: NodeRole): Promise<Draft | undefined> {
    const groups = (await this.#app.backend())?.groups;
    const [look, saved] = await Promise.all([groups?.look(id, this.#first, this.#limit), this.#app.results.restoreGroup(id)]);
    if (look === undefined && saved === undefined) return undefined;
    const found = await this.#found.search({ ids: new Set(), groups: new Set([id]) });
    const members = await this.#groupMembers(id, look, saved, found);
    const node: Draft = { kind: "group", id, role, state: "PENDING", parts: members };
    const expected = look?.expected ?? (saved === undefined ? undefined : leafIds(saved).length);
    const total = expected ?? members.length;
    if (look !== undefined) {
      const failed = members.filter(({ state }) => state === "FAILURE" || state === "REVOKED").length;
      node.counts = { total, pending: Math.max(0, total - look.counted), succeeded: look.counted - failed, failed, dead: 0 };
      node.state = look.counted >= total ? "due" : "waits";
    } else {
      await this.#found.read(saved === undefined ? [] : leafIds(saved));
      const states = saved === undefined ? [] : leafIds(saved).map((leaf) => this.#found.document(leaf)?.state ?? "PENDING");
      const count = (...those: readonly string[]): number => states.filter((state) => those.includes(state)).length;
      const [succeeded, failed] = [count("SUCCESS"), count("FAILURE", "REVOKED")];
      node.counts = { total, pending: total - succeeded - failed, succeeded, failed, dead: 0 };
      node.state = succeeded === total ? "SUCCESS" : succeeded + failed === total ? "FAILURE" : "PENDING";
    }
    if (total > members.length) node.hidden = total - members.length;
    const body = bodyOf(look, found);
    if (body !== undefined) node.parts.push(await this.#signature(body, "body", true));
    return node;
  }

  async #groupMembers(groupId: string, look: GroupLook | undefined, saved: ResultTuple | undefined, found: Found): Promise<Draft[]> {
    const ids = new Map<string, number | undefined>();
    if (saved !== undefined) for (const [place, id] of leafIds(saved).entries()) ids.set(id, place);
    const parts = new Map<string, ChordPart>();
    for (const { place, part } of look?.parts ?? []) {
      const read = this.#found.part(part);
      if (read === undefined) continue;
      parts.set(read.taskId, read);
      ids.set(read.taskId, place ?? ids.get(read.taskId));
    }
    for (const { received } of found.messages)
      if (received.group === groupId && !parts.has(received.id)) ids.set(received.id, received.groupIndex);
    const shown = [...ids].filter(([, place]) => saved === undefined || place === undefined || place >= this.#first);
    shown.sort(([, a = Infinity], [, b = Infinity]) => a - b);
    const wanted = shown.slice(0, this.#limit);
    await this.#found.read(wanted.map(([id]) => id));
    const members = wanted.map(([id, place]) => this.#member(id, place, parts.get(id)));
    return look === undefined ? members : this.#withMissing(groupId, members, look, ids);
  }

  /** What has come in counts, whatever has become of its result since. */
  #member(id: string, place: number | undefined, part: ChordPart | undefined): Draft {
    const node = this.#found.task(id, "member", place);
    if (part === undefined) return node;
    node.state = part.state;
    if (node.where?.kind !== "dead") delete node.where;
    if (part.error !== undefined) node.error = errorLine(part.error);
    return node;
  }

  /** Places of which nothing is known but that nobody has reported from there. */
  #withMissing(
    groupId: string,
    members: Draft[],
    { expected = 0, counted }: GroupLook,
    known: ReadonlyMap<string, number | undefined>,
  ): Draft[] {
    if (known.size >= expected || counted > this.#limit) return members;
    const places = new Set(known.values());
    for (let place = 0; place < expected && members.length < Math.min(expected, this.#limit); place++) {
      if (places.has(place)) continue;
      const where: Whereabouts = { kind: this.#found.isPartial ? "unknown" : "gone" };
      members.push({ kind: "task", id: `${groupId} --place ${place}`, role: "member", place, state: "PENDING", where, parts: [] });
    }
    return members.toSorted((a, b) => (a.place ?? Infinity) - (b.place ?? Infinity));
  }

  // --- tasks -------------------------------------------------------------------------------------------------------

  async #taskTree(id: string): Promise<Draft> {
    await this.#found.read([id]);
    if (this.#found.document(id) === undefined) {
      const found = await this.#found.search({ ids: new Set([id]), groups: new Set() });
      if (found.messages.length === 0) {
        const before = await this.#found.search({ ids: new Set(), groups: new Set(), follower: id });
        const first = before.messages[0]?.received;
        if (first === undefined) throw new WorkflowUnknownError(id);
        return await this.#taskTree(first.id);
      }
    }
    return await this.#down(await this.#top(id), "root");
  }

  /** The first of its ancestors of which something is known. */
  async #top(id: string): Promise<string> {
    let top = id;
    for (let climbed = 0; climbed < CLIMB; climbed++) {
      const parent = this.#found.document(top)?.parentId ?? this.#found.message(top)?.received.parentId;
      if (parent === undefined || parent === top) return top;
      await this.#found.read([parent]);
      if (this.#found.document(parent) === undefined) return top;
      top = parent;
    }
    return top;
  }

  async #down(id: string, role: NodeRole, place?: number): Promise<Draft> {
    await this.#found.read([id]);
    const node = this.#found.task(id, role, place);
    if (this.#seen.has(id) || ++this.#nodes > NODES) return node;
    this.#seen.add(id);
    const tuples = this.#found.document(id)?.children.flatMap(tupleOf) ?? [];
    await this.#found.read(tuples.flatMap(leafIds).slice(0, NODES));
    for (const tuple of tuples) node.parts.push(await this.#tuple(tuple, "child"));
    return node;
  }

  async #tuple([[id], children]: ResultTuple, role: NodeRole): Promise<Draft> {
    if (children === null) return await this.#down(id, role);
    const known = await this.#groupOf(id, role);
    if (known !== undefined) return known;
    const parts: Draft[] = [];
    for (const child of children.slice(0, this.#limit)) parts.push(await this.#tuple(child, "member"));
    const states = parts.map(({ state }) => state);
    const state = states.every((each) => each === "SUCCESS") ? "SUCCESS" : states.some((each) => !isReady(each)) ? "PENDING" : "FAILURE";
    return { kind: "group", id, role, state, parts, ...(children.length > parts.length && { hidden: children.length - parts.length }) };
  }

  /** What is called when something has come before it. */
  async #signature(signature: SignatureData, role: NodeRole, waits: boolean): Promise<Draft> {
    const shape = shapeOf(signature);
    if (shape.kind === "chain") {
      const [first, ...rest] = shape.steps;
      if (first === undefined) return { kind: "group", id: "", role, state: "SUCCESS", parts: [] };
      const node = await this.#signature(first, role, waits);
      let last = node;
      for (const step of rest) {
        const next = await this.#signature(step, "next", true);
        last.parts.push(next);
        last = next;
      }
      return node;
    }
    if (shape.kind === "task") {
      const id = textIn(signature.options, "task_id") ?? "";
      await this.#found.read([id]);
      const node = this.#found.task(id, role);
      node.task ??= signature.task;
      if (waits && node.state === "PENDING") {
        node.state = "WAITING";
        delete node.where;
      }
      return node;
    }
    const members = shape.kind === "group" ? shape.members : shapeOf(shape.header).kind === "group" ? groupMembersOf(shape.header) : [];
    const parts = await Promise.all(members.slice(0, this.#limit).map((member) => this.#signature(member, "member", waits)));
    if (shape.kind === "chord") parts.push(await this.#signature(shape.body, "body", true));
    const id = textIn(signature.options, "task_id") ?? "";
    return { kind: "group", id, role, state: waits ? "WAITING" : "PENDING", parts };
  }

  // --- where they are ----------------------------------------------------------------------------------------------

  /** Looks for what has not ended, and adds what its messages carry along. */
  async #locate(root: Draft): Promise<void> {
    const open = [...eachDraft(root)].filter(({ kind, where }) => kind === "task" && (where?.kind === "unknown" || where?.kind === "dead"));
    if (open.length > 0)
      await this.#found.search({
        ids: new Set(open.map(({ id }) => id).filter((id) => this.#found.message(id) === undefined)),
        groups: new Set(),
      });
    for (const node of open) {
      const message = this.#found.message(node.id);
      if (message !== undefined) node.where = message.where;
      else if (node.where?.kind === "unknown") node.where = { kind: this.#found.isPartial ? "unknown" : "gone" };
      else if (!this.#found.isPartial) delete node.where; // somebody has discarded the letter
      if (message === undefined) continue;
      node.task = message.received.task;
      if (node.parts.length === 0 && node.where?.kind !== "dead") await this.#addFollowers(node, message);
    }
    for (const node of eachDraft(root)) node.task ??= this.#found.message(node.id)?.received.task;
  }

  async #addFollowers(node: Draft, { received }: KnownMessage): Promise<void> {
    let chain: readonly SignatureData[];
    try {
      chain = received.body().embed.chain ?? [];
    } catch (error) {
      if (error instanceof ProtocolError) return;
      throw error;
    }
    let last = node;
    for (const step of chain.toReversed()) {
      const next = await this.#signature(step, "next", true);
      last.parts.push(next);
      last = next;
    }
  }
}

function* eachDraft(node: Draft): Generator<Draft, void> {
  yield node;
  for (const part of node.parts) yield* eachDraft(part);
}
