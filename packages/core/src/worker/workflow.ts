/**
 * What follows from a task's end in the workflow that it is part of: its callbacks, the rest of its chain, its error
 * callbacks, and its part of a chord (celery-protocol 7.2, 7.3, 7.5; the truth table is in docs/canvas.md).
 * Pure but for fresh ids. What is published and stored becomes part of the settlement; groups are counted by `chords.ts`.
 */
import { type AbandonedTask, abandonedTasks, type ChordMember, errbacksOf } from "../canvas/abandon.ts";
import { encodePart } from "../canvas/chord-part.ts";
import type { HandOver } from "../canvas/replace.ts";
import { begunOf, type ResultTuple } from "../canvas/result-tuple.ts";
import { groupSignature, shapeOf } from "../canvas/signature-data.ts";
import { type GroupSize, type Plan, type PlannedCall, unroll } from "../canvas/unroll.ts";
import type { CallParent } from "../app/calls.ts";
import type { Outgoing } from "../brokers/broker.ts";
import type { WireException } from "../protocol/exception.ts";
import { decodeJson, encodeJson } from "../protocol/json.ts";
import { encodeResult } from "../protocol/result.ts";
import type { SignatureData } from "../protocol/signature.ts";
import type { Embed, ReceivedTask } from "../protocol/task-message.ts";
import type { GroupPart } from "../results/groups.ts";
import type { ResultWrite } from "../results/result-backend.ts";

export interface WorkflowRules {
  readonly resultSerializer: string;
  readonly resultExpiresMs: number | undefined;
  /** Routes and writes calls as the app does. */
  encodeCalls(calls: readonly PlannedCall[], parent: CallParent): readonly Outgoing[];
}

/** How a task ended, for those who depend on it. */
export type Ending =
  | { readonly state: "SUCCESS"; readonly value: unknown }
  | { readonly state: "FAILURE" | "REVOKED"; readonly error: WireException };

/** What is due beside the task's own settlement. */
export interface WorkflowStep {
  readonly publish: readonly Outgoing[];
  readonly results: readonly ResultWrite[];
  /** Groups that are begun by what is published. */
  readonly sizes: readonly GroupSize[];
  readonly nested: readonly ResultTuple[];
  readonly parts: readonly GroupPart[];
  /** What was sent, for the task's own result. */
  readonly children: readonly ResultTuple[];
  readonly parent: CallParent;
}

export function parentOf({ id, rootId, message }: ReceivedTask): CallParent {
  return { id, rootId: rootId ?? id, delivery: { priority: message.properties.priority } };
}

/** undefined: nothing depends on it, as on most tasks. @throws ProtocolError for what cannot be written, or a malformed signature */
export function planWorkflow(
  received: ReceivedTask,
  embed: Embed,
  ending: Ending,
  rules: WorkflowRules,
  now: number,
): WorkflowStep | undefined {
  const { callbacks, errbacks, chain, chord } = embed;
  if (!callbacks?.length && !errbacks?.length && !chain?.length && chord === null) return undefined;
  const draft = new StepDraft(parentOf(received), rules, now);
  if (ending.state === "SUCCESS") {
    const value = plainValue(ending.value);
    draft.callAll(callbacks ?? [], [value]);
    const next = chain?.at(-1);
    if (next !== undefined) draft.call(next, [value], { chain: chain?.slice(0, -1) });
  } else {
    for (const step of (chain ?? []).toReversed()) draft.abandon(step, ending);
    if (ending.state === "FAILURE") draft.callAll(errbacks ?? [], [received.id]);
  }
  const { group, groupIndex } = received;
  if (chord !== null && group !== undefined) draft.part(received.id, { groupId: group, index: groupIndex, chord }, ending, undefined);
  return draft;
}

/** What a task leaves in its place. */
export function planHandOver(received: ReceivedTask, by: HandOver, rules: WorkflowRules, now: number): WorkflowStep {
  const draft = new StepDraft(parentOf(received), rules, now);
  if (by.kind === "call") draft.call(by.signature, []);
  else draft.failBody(by.body, by.error);
  return draft;
}

/** What a value is to those who read it as a result: without what JSON has not. */
function plainValue(value: unknown): unknown {
  return decodeJson(encodeJson(value ?? null, { where: "result", undefinedProperties: "drop" }));
}

/** Gathers what follows. Also used for bodies of chords. */
export class StepDraft implements WorkflowStep {
  readonly publish: Outgoing[] = [];
  readonly results: ResultWrite[] = [];
  readonly sizes: GroupSize[] = [];
  readonly nested: ResultTuple[] = [];
  readonly parts: GroupPart[] = [];
  readonly children: ResultTuple[] = [];
  readonly parent: CallParent;
  readonly #rules: WorkflowRules;
  readonly #now: number;

  constructor(parent: CallParent, rules: WorkflowRules, now: number) {
    this.parent = parent;
    this.#rules = rules;
    this.#now = now;
  }

  call(signature: SignatureData, args: readonly unknown[], options: Readonly<Record<string, unknown>> = {}): void {
    const plan: Plan = unroll(signature, { args, options });
    this.publish.push(...this.#rules.encodeCalls(plan.calls, this.parent));
    this.sizes.push(...plan.sizes);
    this.nested.push(...plan.nested);
    this.children.push(...begunOf(plan.result));
  }

  /** One by itself; of several the groups each by themselves and the others as one group, as Celery does. */
  callAll(signatures: readonly SignatureData[], args: readonly unknown[]): void {
    const [only] = signatures;
    if (only === undefined) return;
    if (signatures.length === 1) return this.call(only, args);
    const groups = signatures.filter((each) => shapeOf(each).kind === "group");
    const others = signatures.filter((each) => shapeOf(each).kind !== "group");
    for (const each of groups) this.call(each, args);
    if (others.length > 0) this.call(groupSignature(others), args);
  }

  /** None of it will run: all of it has this ending. */
  abandon(signature: SignatureData, ending: Extract<Ending, { error: WireException }>): void {
    for (const task of abandonedTasks(signature)) {
      const write = this.#write(task, ending);
      if (task.member === undefined) this.results.push(write);
      else this.part(task.id, task.member, ending, write);
    }
  }

  /** The body of a chord whose header has failed. */
  failBody(body: SignatureData, error: WireException): void {
    this.abandon(body, { state: "FAILURE", error });
    for (const { id, errbacks } of errbacksOf(body)) this.callAll(errbacks, [id]);
  }

  part(taskId: string, { groupId, index, chord }: ChordMember, ending: Ending, result: ResultWrite | undefined): void {
    const { resultSerializer, resultExpiresMs: expiresMs } = this.#rules;
    const { state } = ending;
    const value = "value" in ending ? ending.value : undefined;
    const error = "error" in ending ? ending.error : undefined;
    const part = encodePart({ taskId, state, result: value, error }, resultSerializer);
    const body = encodeJson(chord, { where: "chord", undefinedProperties: "drop" });
    const { rootId, delivery } = this.parent;
    this.parts.push({ groupId, taskId, index, part, result, expiresMs, rootId, priority: delivery.priority, body });
  }

  #write({ id, groupId }: AbandonedTask, { state, error }: Extract<Ending, { error: WireException }>): ResultWrite {
    const document = encodeResult(
      {
        taskId: id,
        state,
        result: undefined,
        error,
        traceback: null,
        children: [],
        dateDoneAt: this.#now,
        groupId,
        parentId: this.parent.id,
      },
      { serializer: this.#rules.resultSerializer },
    );
    return { taskId: id, state, document, expiresMs: this.#rules.resultExpiresMs };
  }
}
