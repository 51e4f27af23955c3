/**
 * A workflow in the caller's process, without a broker: one task after the other, in the order in which they would be
 * published, with all that follows from each end by the rules that workers have (`canvas/follow.ts`). For tests.
 */
import type { AbandonedTask, ChordMember } from "../canvas/abandon.ts";
import { memberError } from "../canvas/chord-part.ts";
import { type BadEnding, type Ending, Follow, isAlone } from "../canvas/follow.ts";
import { begunOf, type ResultTuple } from "../canvas/result-tuple.ts";
import type { SignatureOptions } from "../canvas/signature-data.ts";
import { sizeOf } from "../canvas/steps.ts";
import { type Plan, unroll } from "../canvas/unroll.ts";
import { ChordError, NotRegistered, Reject } from "../protocol/celery-errors.ts";
import { ProtocolError } from "../protocol/errors.ts";
import { fromWireException, toWireException, type WireException } from "../protocol/exception.ts";
import type { SignatureData } from "../protocol/signature.ts";
import type { ResultDocument } from "../protocol/result.ts";
import { errorText } from "../shared/errors.ts";
import type { Lovage } from "./app.ts";
import type { ResultSource } from "./async-result.ts";
import type { CallOptions, Kwargs } from "./call-options.ts";
import { type EagerEnd, runTask } from "./eager.ts";
import { takesFailure } from "./error-callback.ts";
import { CallError } from "./errors.ts";
import type { Task } from "./task.ts";
import { toCallOptions, embedOf } from "./wire-options.ts";
import type { FellowMember } from "./workflow-place.ts";

export interface QueuedCall {
  readonly name: string;
  readonly args: readonly unknown[];
  readonly kwargs: Kwargs;
  /** With an id. */
  readonly options: CallOptions & { readonly taskId: string };
  readonly parent: { readonly id: string; readonly rootId: string } | undefined;
}

interface OpenGroup {
  size: number;
  readonly parts: Map<string, { readonly index: number; readonly ending: Ending }>;
  nested: ResultTuple | undefined;
}

export class EagerWorkflow extends Follow implements ResultSource {
  readonly #app: Lovage;
  readonly #queue: QueuedCall[] = [];
  readonly #groups = new Map<string, OpenGroup>();
  readonly #ended = new Map<string, { readonly document: ResultDocument; readonly error: unknown }>();
  /** What followed each, for its document. */
  readonly #begun = new Map<string, readonly ResultTuple[]>();
  /** What was thrown, for those that end with it and were never begun. */
  readonly #thrown = new WeakMap<WireException, unknown>();
  /** A chord's body is no child of the member that came last. */
  #isCompleting = false;
  /** The task that what is begun follows from. */
  #parent: QueuedCall["parent"];

  constructor(app: Lovage) {
    super();
    this.#app = app;
  }

  async run(plan: Plan, parent: QueuedCall["parent"]): Promise<void> {
    this.#parent = parent;
    this.begin(plan);
    await this.#drain();
  }

  async runCall(call: QueuedCall): Promise<void> {
    this.#queue.push(call);
    await this.#drain();
  }

  async read(id: string): Promise<ResultDocument | undefined> {
    const ended = this.#ended.get(id)?.document;
    const begun = this.#begun.get(id);
    return ended && begun ? { ...ended, children: [...ended.children, ...begun] } : ended;
  }

  /** @throws CallError for one that did not run: a member of its chord was never sent */
  async wait(id: string): Promise<ResultDocument> {
    const document = await this.read(id);
    if (document === undefined) throw new CallError("", `task ${id} did not run in this eager workflow: what it waits for was never sent`);
    return document;
  }

  async forget(ids: readonly string[]): Promise<void> {
    for (const id of ids) this.#ended.delete(id);
  }

  thrown(id: string): unknown {
    return this.#ended.get(id)?.error;
  }

  async #drain(): Promise<void> {
    for (let call = this.#queue.shift(); call !== undefined; call = this.#queue.shift()) await this.#runOne(call);
  }

  async #runOne(call: QueuedCall): Promise<void> {
    const { taskId: id } = call.options;
    const task = this.#app.tasks.get(call.name) as unknown as Task | undefined;
    const own = { id, group: call.options.groupId, groupIndex: call.options.groupIndex };
    this.#parent = { id, rootId: call.options.rootId ?? call.parent?.rootId ?? id };
    const embed = embedOf(call.options);
    if (task === undefined) {
      const error = new NotRegistered(call.name);
      this.#fail(id, "FAILURE", error);
      return this.after(own, embed, { state: "FAILURE", error: toWireException(error) });
    }
    const ended = await runTask(this.#app, task, call, { sendMember: async (member) => this.#addMember(member) });
    if (ended.by !== undefined) return this.handOver(ended.by);
    if (ended.document !== undefined) this.#ended.set(id, { document: ended.document, error: ended.error });
    if (isAlone(embed)) return;
    const ending = endingOf(ended);
    if (ending !== undefined && ending.state !== "SUCCESS") this.#thrown.set(ending.error, ended.error);
    try {
      if (ending === undefined)
        this.after(own, { ...embed, callbacks: null, errbacks: null, chain: null }, { state: "SUCCESS", value: null });
      else this.after(own, embed, ending);
    } catch (error) {
      if (!(error instanceof ProtocolError) || ending?.state !== "SUCCESS") throw error;
      this.#fail(id, "FAILURE", error); // what it returned cannot be handed on
      this.after(own, embed, { state: "FAILURE", error: toWireException(error) });
    }
  }

  protected begin({ calls, sizes, nested, result }: Plan): void {
    if (this.#parent !== undefined && !this.#isCompleting)
      this.#begun.set(this.#parent.id, [...(this.#begun.get(this.#parent.id) ?? []), ...begunOf(result)]);
    for (const { groupId, size } of sizes) this.#groups.set(groupId, { size, parts: new Map(), nested: undefined });
    for (const tuple of nested) this.#group(tuple[0][0]).nested = tuple;
    for (const { task: name, args, kwargs, options } of calls) {
      const taskId = String(options.task_id); // planned calls have one
      this.#queue.push({ name, args, kwargs, options: { ...toCallOptions(options), taskId }, parent: this.#parent });
    }
  }

  protected inherited(id: string): SignatureOptions {
    return { parent_id: id, root_id: this.#parent?.rootId ?? id };
  }

  protected takesFailure(errback: SignatureData): boolean {
    return takesFailure(this.#app, errback);
  }

  protected end({ id }: AbandonedTask, { state, error }: BadEnding): void {
    this.#fail(id, state, this.#thrown.get(error) ?? fromWireException(error));
  }

  protected report(
    taskId: string,
    { groupId, index = Infinity, chord }: ChordMember,
    ending: Ending,
    unrun: AbandonedTask | undefined,
  ): void {
    if (unrun !== undefined && ending.state !== "SUCCESS") this.end(unrun, ending);
    const group = this.#group(groupId);
    group.parts.set(taskId, { index, ending });
    if (group.parts.size !== group.size) return;
    this.#isCompleting = true;
    try {
      this.#complete(group, chord);
    } finally {
      this.#isCompleting = false;
    }
  }

  #complete(group: OpenGroup, body: SignatureData): void {
    const parts = [...group.parts].toSorted(([, a], [, b]) => (a.index === b.index ? 0 : a.index - b.index));
    for (const [id, { ending: each }] of parts) if (each.state !== "SUCCESS") return this.failBody(body, memberError(id, each.error));
    const values = parts.map(([, { ending: each }]) => (each.state === "SUCCESS" ? each.value : null));
    this.call(body, [group.nested === undefined ? values : this.#valueOf(group.nested)]);
  }

  #addMember(member: FellowMember): ResultTuple {
    this.#group(member.options.group_id).size += sizeOf(member);
    const plan = unroll(member, {});
    this.begin(plan);
    return plan.result;
  }

  #group(id: string): OpenGroup {
    const group = this.#groups.get(id);
    if (group === undefined) throw new ChordError(`there is no chord ${id} in this workflow`);
    return group;
  }

  #valueOf([[id], children]: ResultTuple): unknown {
    return children?.map((child) => this.#valueOf(child)) ?? this.#ended.get(id)?.document.result ?? null;
  }

  #fail(id: string, state: "FAILURE" | "REVOKED", error: unknown): void {
    const dateDoneAt = this.#app.clock.now();
    const wire = toWireException(error);
    this.#ended.set(id, {
      document: { taskId: id, state, result: undefined, error: wire, traceback: null, children: [], dateDoneAt },
      error,
    });
  }
}

/** undefined: it asked to be ignored. */
function endingOf({ document, error }: EagerEnd): Ending | undefined {
  if (document?.state === "SUCCESS") return { state: "SUCCESS", value: document.result };
  if (document?.state === "IGNORED") return undefined;
  const failure = document?.state === "REJECTED" ? new Reject(errorText(error), false) : error;
  return { state: "FAILURE", error: toWireException(failure), traceback: document?.traceback };
}
