/**
 * One workflow, by the id of a task, a group, a chord's header or a batch: shown, and repaired. What is repaired goes the way of every
 * task: a stand-in with the id, the place and the followers of the one that is missing is published, and returns the value or fails.
 * So callbacks, the rest of a chain, a chord and a batch follow from it as from any other, on workers of either language.
 */
import { asMember, memberId } from "../../canvas/batch-member.ts";
import { decodePart } from "../../canvas/chord-part.ts";
import { shapeOf, taskSignature, textIn, without } from "../../canvas/signature-data.ts";
import { type PlannedCall, unroll } from "../../canvas/unroll.ts";
import type { Broker, Outgoing } from "../../brokers/broker.ts";
import { limitLabel } from "../../brokers/limits.ts";
import { contentTypesFor } from "../../protocol/serializers.ts";
import type { SignatureData } from "../../protocol/signature.ts";
import { retryMessage } from "../../protocol/task-message.ts";
import type { GroupLook } from "../../results/groups.ts";
import type { ResultBackend } from "../../results/result-backend.ts";
import { countOf } from "../../shared/count-of.ts";
import { newId } from "../../shared/ids.ts";
import type { Lovage } from "../app.ts";
import { FAIL_TASK } from "../built-in-tasks.ts";
import { ResultsDisabledError, WorkflowRepairError } from "../errors.ts";
import { Explainer, type ExplainOptions } from "./explain.ts";
import { bodyOf } from "./facts.ts";
import { findMessages, type Found, type KnownMessage } from "./find-messages.ts";
import { eachNode, type WorkflowView } from "./node.ts";

/** Celery's own: gives back its argument, on workers of either language. */
const RETURN_TASK = "celery.accumulate";

export interface RepairOptions {
  /** With the id of a group: its member at this place, of which nothing else is known any more. */
  readonly place?: number | undefined;
  readonly queues?: readonly string[] | undefined;
}

export interface Repaired {
  /** Tasks that were put back or stood in for. */
  readonly ids: readonly string[];
  /** What was done, for people. */
  readonly done: string;
}

export class Workflow {
  readonly app: Lovage;
  readonly id: string;

  constructor(app: Lovage, id: string) {
    this.app = app;
    this.id = id;
  }

  /** Its tree with states, and what keeps it from going on. @throws WorkflowUnknownError, ResultsDisabledError */
  async explain(options: ExplainOptions = {}): Promise<WorkflowView> {
    return await new Explainer(this.app, options).explain(this.id);
  }

  /**
   * Runs what is kept as dead letters again: the task, or those of the workflow's parts that `explain` shows.
   * @throws WorkflowRepairError when there is nothing to put back
   */
  async retry(options: ExplainOptions = {}): Promise<Repaired> {
    const { deadLetters } = await this.app.broker();
    const view = await this.explain(options);
    const dead = [...eachNode(view.root)].filter(({ where }) => where?.kind === "dead");
    const own = dead.filter(({ id }) => id === this.id);
    const ids: string[] = [];
    for (const { id, where } of own.length > 0 ? own : dead)
      if (where?.kind === "dead" && (await deadLetters?.restore(where.queue, id))) ids.push(id);
    if (ids.length === 0)
      throw new WorkflowRepairError(this.id, "nothing of it is kept as a dead letter: what is gone can be completed or failed by hand");
    return { ids, done: `put back ${ids.length === 1 ? (ids[0] as string) : `${ids.length} tasks`}` };
  }

  /**
   * Gives a task the result that it did not get: it counts as if it had returned it, and all that follows from it runs.
   * @throws WorkflowRepairError when it has succeeded, or its message is still to be run
   */
  async complete(value: unknown, options: RepairOptions = {}): Promise<Repaired> {
    const id = await this.#standIn(RETURN_TASK, [value], { index: 0 }, options);
    return { ids: [id], done: `completed ${id}` };
  }

  /** Calls the body of a chord with the results that have come, and waits for the others no more. @throws WorkflowRepairError */
  async completePartial(options: RepairOptions = {}): Promise<Repaired> {
    const { backend, look, body } = await this.#chord(options);
    const values: unknown[] = [];
    for (let first = 0; first < look.counted; first += PAGE) {
      const page = first === 0 ? look : await backend.groups.look(this.id, first, PAGE);
      for (const { part } of page?.parts ?? []) {
        const read = decodePart(part, this.#decoding);
        if (read.error === undefined) values.push(read.result);
      }
    }
    const plan = unroll(body, { args: [values] });
    await this.#publishPlan(plan.calls);
    await backend.groups.end([this.id]);
    const id = textIn(body.options, "task_id") ?? this.id;
    return { ids: [id], done: `called the body ${id} with ${countOf(values.length, "result")}` };
  }

  /**
   * Lets a task fail with this reason, and with it all that depends on it; of a chord its body, of a batch what has not run (it is cancelled).
   * @throws WorkflowRepairError when it has succeeded, or its message is still to be run
   */
  async fail(reason: string, options: RepairOptions = {}): Promise<Repaired> {
    const backend = await this.#backend();
    if ((await backend.batches?.read([this.id]))?.[0] !== undefined) {
      await this.app.openBatch(this.id).cancel();
      return { ids: [this.id], done: `cancelled batch ${this.id}` };
    }
    if (options.place === undefined && (await backend.groups.look(this.id, 0, 1)) !== undefined)
      return await this.#failBody(reason, options);
    const id = await this.#standIn(FAIL_TASK, [reason], {}, options);
    return { ids: [id], done: `failed ${id}` };
  }

  async #failBody(reason: string, options: RepairOptions): Promise<Repaired> {
    const { backend, body } = await this.#chord(options);
    await this.#publishPlan(unroll(failing(body, reason, this.id), {}).calls);
    await backend.groups.end([this.id]);
    const id = textIn(body.options, "task_id") ?? this.id;
    return { ids: [id], done: `failed the body ${id}` };
  }

  /** The group of this id, as the header of a chord. */
  async #chord(
    options: RepairOptions,
  ): Promise<{ readonly backend: ResultBackend; readonly look: GroupLook; readonly body: SignatureData }> {
    const backend = await this.#backend();
    const look = await backend.groups.look(this.id, 0, PAGE);
    if (look === undefined) throw new WorkflowRepairError(this.id, "it is no group that waits: it has ended, or never was");
    const body = bodyOf(look, look.body === "" ? await this.#find(new Set(), new Set([this.id]), options) : NOTHING);
    if (body === undefined) throw new WorkflowRepairError(this.id, "it has no body that is known: a group by itself waits for nothing");
    return { backend, look, body };
  }

  // --- stand-ins ---------------------------------------------------------------------------------------------------

  /** Publishes a task in the place of the one that is missing. */
  async #standIn(
    task: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    options: RepairOptions,
  ): Promise<string> {
    const broker = await this.app.broker();
    if (options.place !== undefined) return await this.#standInAt(options.place, task, args, kwargs, options);
    const document = await this.app.results.read(this.id);
    if (document?.state === "SUCCESS") throw new WorkflowRepairError(this.id, "it has succeeded: a success stays");
    const { messages, isPartial } = await this.#find(new Set([this.id]), new Set(), options);
    const [message] = messages;
    if (message === undefined && isPartial)
      throw new WorkflowRepairError(this.id, "there are more messages than were looked at, and it may be among them");
    if (message !== undefined) return await this.#standInFor(broker, message, task, args, kwargs);
    const at = placeOfMember(this.id);
    const isMember = at !== undefined && (await (await this.#backend()).batches?.read([at.batchId]))?.[0] !== undefined;
    if (document?.groupId !== undefined && (await (await this.#backend()).groups.look(document.groupId, 0, 1)) !== undefined)
      throw new WorkflowRepairError(
        this.id,
        `it is a member of group ${document.groupId}, and its place is not known: give the group and the place`,
      );
    const signature = taskSignature(task, args, kwargs);
    const sent = isMember ? asMember(signature, at) : { ...signature, options: { task_id: this.id } };
    await this.#publishPlan(unroll(sent, {}).calls);
    return this.id;
  }

  /** With all that its message carries. */
  async #standInFor(
    broker: Broker,
    { received, where }: KnownMessage,
    task: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
  ): Promise<string> {
    if (where.kind !== "dead") throw new WorkflowRepairError(this.id, `it is still to be run: it ${wordsOf(where)}`);
    const codec = { serializer: this.app.settings.taskSerializer };
    const message = retryMessage(received, { retries: 0, eta: null, expires: null, args, kwargs }, codec);
    const outgoing: Outgoing = {
      message: { ...message, headers: { ...message.headers, task } },
      exchange: "",
      routingKey: where.queue,
    };
    await broker.publish([outgoing]);
    await broker.deadLetters?.remove(where.queue, received.id);
    return received.id;
  }

  async #standInAt(
    place: number,
    task: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    options: RepairOptions,
  ): Promise<string> {
    if (!Number.isSafeInteger(place) || place < 0)
      throw new WorkflowRepairError(this.id, `a place is a whole number from 0, not ${String(place)}`);
    const [batch] = (await (await this.#backend()).batches?.read([this.id])) ?? [];
    if (batch !== undefined)
      return await new Workflow(this.app, memberId({ batchId: this.id, place })).#standIn(task, args, kwargs, {
        ...options,
        place: undefined,
      });
    const { look, body } = await this.#chord(options);
    if (place >= (look.expected ?? Infinity))
      throw new WorkflowRepairError(this.id, `it has no place ${place}: it waits for ${look.expected}`);
    const { messages, isPartial } = await this.#find(new Set(), new Set([this.id]), options);
    const message = messages.find(({ received }) => received.group === this.id && received.groupIndex === place);
    if (message !== undefined) return await this.#standInFor(await this.app.broker(), message, task, args, kwargs);
    if (isPartial) throw new WorkflowRepairError(this.id, "there are more messages than were looked at, and the member may be among them");
    if (await this.#hasReported(place, look)) throw new WorkflowRepairError(this.id, `its member at place ${place} has reported`);
    const id = newId();
    const signature = {
      ...taskSignature(task, args, kwargs),
      options: { task_id: id, group_id: this.id, group_index: place, chord: body },
    };
    await this.#publishPlan(unroll(signature, {}).calls);
    return id;
  }

  async #hasReported(place: number, look: GroupLook): Promise<boolean> {
    const { groups } = await this.#backend();
    for (let first = 0; first < look.counted; first += PAGE) {
      const page = first === 0 ? look : await groups.look(this.id, first, PAGE);
      if (page?.parts.some((part) => part.place === place)) return true;
    }
    return false;
  }

  async #publishPlan(calls: readonly PlannedCall[]): Promise<void> {
    await this.app.calls.publish(this.app.calls.planned(calls, undefined));
  }

  async #find(ids: ReadonlySet<string>, groups: ReadonlySet<string>, { queues }: RepairOptions): Promise<Found> {
    const names = queues ?? this.app.calls.routing.declared.map(({ name }) => name);
    return await findMessages(await this.app.broker(), names, { ids, groups }, MESSAGES);
  }

  async #backend(): Promise<ResultBackend> {
    const backend = await this.app.backend();
    if (backend === undefined) throw new ResultsDisabledError();
    return backend;
  }

  get #decoding() {
    const { settings } = this.app;
    return { accept: contentTypesFor(settings.resultAcceptContent ?? settings.acceptContent), serializer: settings.resultSerializer };
  }
}

const PAGE = 1000;
const MESSAGES = 100_000;
const NOTHING: Found = { messages: [], isPartial: false };

/** The same body, the first task of which fails: its errbacks are called and the rest of it fails with it. */
function failing(body: SignatureData, reason: string, groupId: string): SignatureData {
  const shape = shapeOf(body);
  if (shape.kind === "task")
    return { ...body, task: FAIL_TASK, args: [reason], kwargs: {}, immutable: true, options: without(body.options, "countdown", "eta") };
  const [first, ...rest] = shape.kind === "chain" ? shape.steps : [];
  if (first === undefined || shapeOf(first).kind !== "task")
    throw new WorkflowRepairError(groupId, "its body begins with a group: fail the members that are missing");
  return { ...body, kwargs: { ...body.kwargs, tasks: [failing(first, reason, groupId), ...rest] } };
}

function placeOfMember(id: string): { readonly batchId: string; readonly place: number } | undefined {
  const match = /^(.+)\.(\d+)$/.exec(id);
  return match === null ? undefined : { batchId: match[1] as string, place: Number(match[2]) };
}

/** Behind "it". */
export function wordsOf(where: Exclude<KnownMessage["where"], { kind: "dead" }>): string {
  if (where.kind === "queue") return `waits in ${where.queue}`;
  if (where.kind === "parked") return `is parked in ${where.queue} until ${new Date(where.dueAt).toISOString()}`;
  if (where.kind === "held") return `waits in ${where.queue} for the limit ${limitLabel(where.limit)}`;
  return where.worker === undefined ? "is with a Python worker" : `is with worker ${where.worker}`;
}
