/**
 * What follows from a task's end (`canvas/follow.ts`) as messages, results and parts of chords. Pure but for fresh ids:
 * what is published and stored becomes part of the settlement; groups are counted by `chords.ts`.
 */
import type { AbandonedTask, ReportedMember } from "../canvas/abandon.ts";
import { encodePart } from "../canvas/chord-part.ts";
import { type BadEnding, type Ending, Follow, isAlone } from "../canvas/follow.ts";
import type { HandOver } from "../canvas/replace.ts";
import { begunOf, type ResultTuple } from "../canvas/result-tuple.ts";
import type { SignatureOptions } from "../canvas/signature-data.ts";
import type { GroupSize, Plan, PlannedCall } from "../canvas/unroll.ts";
import type { CallParent } from "../app/call-encoder.ts";
import type { Outgoing } from "../brokers/broker.ts";
import { encodeJson } from "../protocol/json.ts";
import { encodeResult } from "../protocol/result.ts";
import type { SignatureData } from "../protocol/signature.ts";
import type { Embed, ReceivedTask } from "../protocol/task-message.ts";
import type { GroupPart } from "../results/groups.ts";
import type { ResultWrite } from "../results/result-backend.ts";

export interface WorkflowRules {
  readonly resultSerializer: string;
  readonly resultExpiresMs: number | undefined;
  /** An error callback of the longer form: this app knows the task. Default: none is. */
  takesFailure?(errback: SignatureData): boolean;
  /** Routes and writes calls as the app does. */
  encodeCalls(calls: readonly PlannedCall[], parent: CallParent): readonly Outgoing[];
}

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
  if (isAlone(embed)) return undefined;
  const draft = new StepDraft(parentOf(received), rules, now);
  draft.after(received, embed, ending);
  return draft;
}

/** What a task leaves in its place. */
export function planHandOver(received: ReceivedTask, by: HandOver, rules: WorkflowRules, now: number): WorkflowStep {
  const draft = new StepDraft(parentOf(received), rules, now);
  draft.handOver(by);
  return draft;
}

/** Gathers what follows. Also used for bodies of chords. */
export class StepDraft extends Follow implements WorkflowStep {
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
    super();
    this.parent = parent;
    this.#rules = rules;
    this.#now = now;
  }

  protected begin(plan: Plan): void {
    for (const each of this.#rules.encodeCalls(plan.calls, this.parent)) this.publish.push(each); // too many for a spread
    this.sizes.push(...plan.sizes);
    this.nested.push(...plan.nested);
    this.children.push(...begunOf(plan.result));
  }

  protected inherited(id: string): SignatureOptions {
    return { parent_id: id, root_id: this.parent.rootId };
  }

  protected takesFailure(errback: SignatureData): boolean {
    return this.#rules.takesFailure?.(errback) ?? false;
  }

  protected end(task: AbandonedTask, ending: BadEnding): void {
    this.results.push(this.#write(task, ending));
  }

  protected report(taskId: string, { groupId, index, chord }: ReportedMember, ending: Ending, unrun: AbandonedTask | undefined): void {
    const { resultSerializer, resultExpiresMs: expiresMs } = this.#rules;
    const { state } = ending;
    const result = unrun === undefined || state === "SUCCESS" ? undefined : this.#write(unrun, ending);
    const value = "value" in ending ? ending.value : undefined;
    const error = "error" in ending ? ending.error : undefined;
    const part = encodePart({ taskId, state, result: value, error }, resultSerializer);
    const body = chord === undefined ? "" : encodeJson(chord, { where: "chord", undefinedProperties: "drop" });
    const { rootId, delivery } = this.parent;
    this.parts.push({ groupId, taskId, index, part, result, expiresMs, rootId, priority: delivery.priority, body });
  }

  #write({ id, groupId }: AbandonedTask, { state, error }: BadEnding): ResultWrite {
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
