/**
 * What follows from a task's end in the workflow that it is part of: its callbacks, the rest of its chain, its error
 * callbacks, and its part of a chord (celery-protocol 7.2, 7.3, 7.5; the truth table is in docs/canvas.md). Pure but for
 * fresh ids: what is to be done about it is for those who extend it, workers and eager calls.
 */
import { type WireException, wireDocument } from "../protocol/exception.ts";
import { decodeJson, encodeJson } from "../protocol/json.ts";
import type { SignatureData } from "../protocol/signature.ts";
import type { Embed } from "../protocol/task-message.ts";
import { type AbandonedTask, abandonedTasks, errbacksOf, type ReportedMember } from "./abandon.ts";
import type { HandOver } from "./replace.ts";
import { groupSignature, shapeOf, type SignatureOptions, textIn } from "./signature-data.ts";
import { type Plan, unroll } from "./unroll.ts";

/** How a task ended, for those who depend on it. */
export type Ending = { readonly state: "SUCCESS"; readonly value: unknown } | BadEnding;
export interface BadEnding {
  readonly state: "FAILURE" | "REVOKED";
  readonly error: WireException;
  readonly traceback?: string | null | undefined;
}

/** What an error callback of the longer form is given of the task that failed. */
export interface FailedRequest {
  readonly id: string;
  readonly rootId: string;
}

export interface EndedTask {
  readonly id: string;
  readonly group: string | undefined;
  readonly groupIndex: number | undefined;
}

/** Nothing depends on the task, as on most. */
export function isAlone({ callbacks, errbacks, chain, chord }: Embed): boolean {
  return !callbacks?.length && !errbacks?.length && !chain?.length && chord === null;
}

export abstract class Follow {
  /** Its calls are due, its groups are counted from now. */
  protected abstract begin(plan: Plan): void;
  /** It will not run, and ends so. */
  protected abstract end(task: AbandonedTask, ending: BadEnding): void;
  /** A part of a chord. `unrun`: of a member that will not run. */
  protected abstract report(taskId: string, member: ReportedMember, ending: Ending, unrun: AbandonedTask | undefined): void;

  /** Options that everything that follows from a task has of it. */
  protected abstract inherited(id: string): SignatureOptions;

  /** It takes what failed, the error and the traceback instead of an id. */
  protected abstract takesFailure(errback: SignatureData): boolean;

  /** @throws ProtocolError for a value that cannot be written, or a malformed signature */
  after({ id, group, groupIndex }: EndedTask, { callbacks, errbacks, chain, chord }: Embed, ending: Ending): void {
    if (ending.state === "SUCCESS") {
      const value = plainValue(ending.value);
      this.#callAll(callbacks ?? [], [value], this.inherited(id));
      const next = chain?.at(-1);
      if (next !== undefined) this.call(next, [value], { ...this.inherited(id), chain: chain?.slice(0, -1) });
    } else {
      for (const step of (chain ?? []).toReversed()) this.abandon(step, ending);
      if (ending.state === "FAILURE") this.#callErrbacks(errbacks ?? [], id, ending);
    }
    if (chord !== null && group !== undefined) this.report(id, { groupId: group, index: groupIndex, chord }, ending, undefined);
  }

  /** Nothing came of it and nothing is called, but the chord that it, or the end of its chain, is a member of must not wait. */
  pass({ id, group, groupIndex }: EndedTask, { chain, chord }: Pick<Embed, "chain" | "chord">): void {
    const nothing = { state: "SUCCESS", value: null } as const;
    if (chord !== null && group !== undefined) this.report(id, { groupId: group, index: groupIndex, chord }, nothing, undefined);
    for (const { id: last, member } of (chain ?? []).flatMap(abandonedTasks)) if (member) this.report(last, member, nothing, undefined);
  }

  /** Who depends on it stands in what cannot be read. If it is a chord's member, its headers tell of which group. */
  afterUnreadable({ id, group, groupIndex }: EndedTask, ending: BadEnding): void {
    if (group !== undefined) this.report(id, { groupId: group, index: groupIndex }, ending, undefined);
  }

  /** What a task left in its place. */
  handOver(by: HandOver): void {
    if (by.kind === "call") this.call(by.signature, []);
    else this.failBody(by.body, by.error);
  }

  call(signature: SignatureData, args: readonly unknown[], options: SignatureOptions = {}): void {
    this.begin(unroll(signature, { args, options }));
  }

  /** One by itself; of several the groups each by themselves and the others as one group, as Celery does. */
  #callAll(signatures: readonly SignatureData[], args: readonly unknown[], options: SignatureOptions): void {
    const [only] = signatures;
    if (only === undefined) return;
    if (signatures.length === 1) return this.call(only, args, options);
    const groups = signatures.filter((each) => shapeOf(each).kind === "group");
    const others = signatures.filter((each) => shapeOf(each).kind !== "group");
    for (const each of groups) this.call(each, args, options);
    if (others.length > 0) this.call(groupSignature(others), args, options);
  }

  /** As one group, also when there is only one, as in Celery. */
  #callErrbacks(errbacks: readonly SignatureData[], id: string, { error, traceback }: BadEnding): void {
    const inherited = this.inherited(id);
    const short = errbacks.filter((each) => !this.takesFailure(each));
    const long = errbacks.filter((each) => this.takesFailure(each));
    if (short.length > 0) this.call(groupSignature(short), [id], inherited);
    const request = { id, rootId: textIn(inherited, "root_id") ?? id };
    if (long.length > 0) this.call(groupSignature(long), [request, wireDocument(error), traceback ?? null], inherited);
  }

  /** None of it will run: all of it has this ending. */
  abandon(signature: SignatureData, ending: BadEnding): void {
    for (const task of abandonedTasks(signature)) {
      if (task.member === undefined) this.end(task, ending);
      else this.report(task.id, task.member, ending, task);
    }
  }

  /** The body of a chord whose header has failed. */
  failBody(body: SignatureData, error: WireException): void {
    this.abandon(body, { state: "FAILURE", error });
    for (const { id, errbacks } of errbacksOf(body)) this.#callErrbacks(errbacks, id, { state: "FAILURE", error });
  }
}

/** What a value is to those who read it as a result: without what JSON has not. */
function plainValue(value: unknown): unknown {
  return decodeJson(encodeJson(value ?? null, { where: "result", undefinedProperties: "drop" }));
}
