/**
 * Batches: large sets of tasks that are counted together, with callbacks when all have ended, when all have succeeded, and
 * when the first has failed for good. Made by `app.batch(...)`; members are added while it runs, also by its own members.
 */
import {
  asMember,
  type BatchPlace,
  batchPlaceOf,
  BATCH_STAMP,
  encodeBatchDocument,
  decodeBatchDocument,
  memberId,
} from "../canvas/batch-member.ts";
import { freeze } from "../canvas/freeze.ts";
import { unroll } from "../canvas/unroll.ts";
import type { SignatureData } from "../protocol/signature.ts";
import { BATCH_EVENTS, type Batches, type BatchEvent, type BatchRecord, type MemberState } from "../results/batches.ts";
import { DURATION_ACCEPTED, type Duration, parseDuration } from "../shared/duration.ts";
import { errorText } from "../shared/errors.ts";
import { newId } from "../shared/ids.ts";
import { didYouMean } from "../shared/suggest.ts";
import type { Lovage } from "./app.ts";
import type { AsyncResult } from "./async-result.ts";
import { BatchClosedError, CallError, PublishFailedError, ResultsDisabledError, UnsupportedByBrokerError } from "./errors.ts";
import { currentTask } from "./process-wide.ts";
import { dataOf, type Linkable } from "./signature.ts";
import type { TaskContext } from "./task-context.ts";

export interface BatchOptions {
  /** For people: shown by `lovage workflow`. */
  readonly description?: string;
  /** Called once all members have succeeded, those that had failed and were run again too. */
  readonly onSuccess?: Linkable<BatchSummary>;
  /** Called once all members have ended, however. */
  readonly onComplete?: Linkable<BatchSummary>;
  /** Called when the first member fails for good: with an error that is not retried, or revoked, expired, or as a dead letter. */
  readonly onDeath?: Linkable<BatchSummary>;
  /** It is a member of this one, which ends and fails with it. */
  readonly parent?: Batch;
  /** It is kept for so long after what last happened to it. Default: the setting `batchExpires` (seven days). */
  readonly expires?: Duration;
  /** Default: a new one. Making the same one again changes nothing. */
  readonly id?: string;
}

/** A task that needs no more arguments. */
export type BatchMember = SignatureData | { readonly accepts: (input: []) => void; readonly isGroup: false; toJSON(): SignatureData };

export interface BatchCounts {
  readonly total: number;
  readonly pending: number;
  readonly succeeded: number;
  /** Ended without success, and not kept as a dead letter. */
  readonly failed: number;
  /** Kept as dead letters. */
  readonly dead: number;
}

/** What callbacks are called with, and what `get()` answers. */
export interface BatchSummary extends BatchCounts {
  readonly id: string;
  readonly description: string | null;
  readonly cancelled: boolean;
}

/** Everything that is known of a batch itself. */
export interface BatchInfo extends BatchSummary {
  /** `open`: members are added by whoever made it. `sealed`: by its own members alone. */
  readonly state: "open" | "sealed" | "complete" | "succeeded" | "cancelled";
  readonly parentId: string | undefined;
  readonly createdAt: Date;
  readonly completedAt: Date | undefined;
  readonly succeededAt: Date | undefined;
  readonly diedAt: Date | undefined;
}

/** Members of one round trip. */
const PORTION = 1000;

export class Batch {
  readonly app: Lovage;
  readonly id: string;
  /** For what the calls of one process reserve outside of tasks. */
  readonly #adder = `-${newId()}`;
  #sequence = 0;

  constructor(app: Lovage, id: string) {
    this.app = app;
    this.id = id;
  }

  /**
   * Sends tasks as its members, in portions, as they come. A task that adds, and is run again because its worker died, adds the same
   * members again if it adds as many in the same order. Resolves with how many there were, once the broker holds them all.
   * @throws BatchClosedError, CallError for what cannot be a member, PublishFailedError: those that it says are not held are no members
   */
  async add(members: Iterable<BatchMember> | AsyncIterable<BatchMember>): Promise<number> {
    let added = 0;
    let portion: SignatureData[] = [];
    for await (const member of members) {
      if (portion.push(dataOf(member)) < PORTION) continue;
      await this.#addPortion(portion);
      added += portion.length;
      portion = [];
    }
    if (portion.length > 0) await this.#addPortion(portion);
    return added + portion.length;
  }

  async #addPortion(members: readonly SignatureData[]): Promise<void> {
    for (const member of members) asMember(member, { batchId: this.id, place: 0 }); // what cannot be a member is refused before it has a place
    const batches = await batchesOf(this.app);
    const { adder, sequence } = this.#nextReservation();
    const reserved = await batches.reserve(this.id, { adder, sequence, count: members.length });
    if (reserved === undefined) throw await this.#closed(batches);
    if (reserved.isPublished) return;
    const calls = members.flatMap((member, i) => {
      const place = reserved.first + i;
      return unroll(asMember(member, { batchId: this.id, place }), { replyTo: this.app.calls.replyTo }).calls;
    });
    try {
      await this.app.calls.publish(this.app.calls.planned(calls, currentTask()));
    } catch (error) {
      // Withdrawing is for those who look at the batch; what could not be sent is for the caller, whatever becomes of it.
      const sent = error instanceof PublishFailedError ? error.calls : [];
      const held = new Set(sent.filter(({ fate }) => fate === "held").map(({ taskId }) => taskId));
      const lost = members.map((_, i) => reserved.first + i).filter((place) => !held.has(memberId({ batchId: this.id, place })));
      await batches.withdraw(this.id, { adder, sequence }, lost).catch((cause: unknown) => {
        this.app.logger.warn({ err: cause, batch: this.id }, `places of a batch were not withdrawn: ${errorText(cause)}`);
      });
      throw error;
    }
    await batches.confirm(this.id, adder, sequence);
  }

  #nextReservation(): { readonly adder: string; readonly sequence: number } {
    const running = currentTask();
    if (running === undefined) return { adder: this.#adder, sequence: this.#sequence++ };
    const own = batchPlaceOf(running.headers);
    const sequences = sequencesOf(running);
    const sequence = sequences.get(this.id) ?? 0;
    sequences.set(this.id, sequence + 1);
    return { adder: own?.batchId === this.id ? String(own.place) : `t${running.id}`, sequence };
  }

  async #closed(batches: Batches): Promise<BatchClosedError> {
    const [record] = await batches.read([this.id]);
    return new BatchClosedError(this.id, record === undefined ? "gone" : record.cancelledAt === undefined ? "complete" : "cancelled");
  }

  /** Nobody but its own members adds to it any more: it is complete when they have all ended. @throws BatchClosedError when it is gone */
  async seal(): Promise<void> {
    if (!(await (await batchesOf(this.app)).seal(this.id))) throw new BatchClosedError(this.id, "gone");
  }

  /** Another batch as a member of this one. */
  async child(options: Omit<BatchOptions, "parent">, fill?: (batch: Batch) => Promise<unknown>): Promise<Batch> {
    return await createBatch(this.app, { ...options, parent: this }, fill);
  }

  /** One look, however many members it has; undefined when there is no such batch any more. */
  async info(): Promise<BatchInfo | undefined> {
    const [record] = await (await batchesOf(this.app)).read([this.id]);
    return record && infoOf(record);
  }

  /** @throws BatchClosedError when it is gone */
  async counts(): Promise<BatchCounts> {
    const info = await this.info();
    if (info === undefined) throw new BatchClosedError(this.id, "gone");
    const { total, pending, succeeded, failed, dead } = info;
    return { total, pending, succeeded, failed, dead };
  }

  /** How the members from `first` on ended, by their places. */
  async states(first = 0, count = PORTION): Promise<readonly MemberState[]> {
    return await (await batchesOf(this.app)).states(this.id, first, count);
  }

  /** The result of the member at a place: the first that was added has place 0. */
  result<Result = unknown>(place: number): AsyncResult<Result> {
    return this.app.result<Result>(memberId({ batchId: this.id, place }));
  }

  /** What it looked like when it was complete: `await batch.whenComplete().get({ timeout: "1h" })`. */
  whenComplete(): AsyncResult<BatchSummary> {
    return this.app.result<BatchSummary>(this.id);
  }

  /**
   * Revokes the members that have not ended, and those of its child batches; takes no more. It is complete when they have all been
   * revoked where they stood, and neither success nor death is told.
   */
  async cancel(): Promise<void> {
    const batches = await batchesOf(this.app);
    const ids = await this.#withChildren(batches);
    for (const id of ids) if (!(await batches.cancel(id)) && id === this.id) throw new BatchClosedError(this.id, "gone");
    await this.app.control.revokeByStampedHeaders({ [BATCH_STAMP]: ids });
  }

  async #withChildren(batches: Batches): Promise<readonly string[]> {
    const ids = [this.id];
    for (let at = 0; at < ids.length; at++)
      for (let first = 0; ;) {
        const page = await batches.children(ids[at] as string, first, PORTION);
        ids.push(...page.map(({ id }) => id));
        const last = page.at(-1);
        if (last === undefined || page.length < PORTION) break;
        first = last.place + 1;
      }
    return ids;
  }

  /** Forgets it at once. Members that are still to come run, and are counted nowhere. */
  async forget(): Promise<void> {
    await (await batchesOf(this.app)).forget(this.id);
    await this.app.results.forget([this.id]);
  }

  toJSON(): string {
    return this.id;
  }
}

/** Sequences by batch, of one run: a run that is repeated counts from 0 again. */
const counted = new WeakMap<TaskContext, Map<string, number>>();

function sequencesOf(running: TaskContext): Map<string, number> {
  let sequences = counted.get(running);
  if (sequences === undefined) counted.set(running, (sequences = new Map<string, number>()));
  return sequences;
}

/** The batch that the running task is a member of; undefined when it is none, or when nothing runs. */
export function currentBatch(): Batch | undefined {
  const running = currentTask();
  const at: BatchPlace | undefined = running && batchPlaceOf(running.headers);
  return running && at && new Batch(running.app, at.batchId);
}

export async function createBatch(app: Lovage, options: BatchOptions, fill?: (batch: Batch) => Promise<unknown>): Promise<Batch> {
  checkBatch(options);
  const { description, onSuccess, onComplete, onDeath, parent, expires } = options;
  if (app.settings.taskAlwaysEager) throw new CallError("", "a batch needs a worker: it does not run with taskAlwaysEager");
  const batch = new Batch(app, options.id ?? childIdInTask() ?? newId());
  const given: Readonly<Record<BatchEvent, Linkable<BatchSummary> | undefined>> = {
    success: onSuccess,
    complete: onComplete,
    death: onDeath,
  };
  const callbacks: Record<string, SignatureData> = {};
  for (const event of BATCH_EVENTS) {
    const callback = given[event];
    if (callback !== undefined) callbacks[event] = freeze(dataOf(callback), { reply_to: app.calls.replyTo }).signature;
  }
  const isBegun = await (
    await batchesOf(app)
  ).begin({
    id: batch.id,
    document: encodeBatchDocument({ description, callbacks }),
    callbacks: BATCH_EVENTS, // `complete` is told to those who wait, whether or not anything is called
    parentId: parent?.id,
    expiresMs: lifeOf(app, expires),
  });
  if (!isBegun) throw new BatchClosedError(parent?.id ?? batch.id, "complete");
  if (fill === undefined) return batch;
  try {
    await fill(batch);
  } catch (error) {
    // A task that is run again makes the same batch again, and goes on filling it.
    if (currentTask() === undefined) await cancelled(batch);
    throw error;
  }
  await batch.seal();
  return batch;
}

/** Why it was not filled is what there is to tell: a batch that could not be cancelled besides expires. */
async function cancelled(batch: Batch): Promise<void> {
  try {
    await batch.cancel();
  } catch (error) {
    batch.app.logger.warn({ err: error, batch: batch.id }, `a batch that was not filled could not be cancelled: ${errorText(error)}`);
  }
}

/** A task that is run again makes the same batches again, in the order in which it made them before. */
function childIdInTask(): string | undefined {
  const running = currentTask();
  if (running === undefined) return undefined;
  const sequences = sequencesOf(running);
  const made = sequences.get("") ?? 0;
  sequences.set("", made + 1);
  return `${running.id}~${made}`;
}

const OPTIONS: ReadonlySet<string> = new Set<keyof BatchOptions>([
  "description",
  "onSuccess",
  "onComplete",
  "onDeath",
  "parent",
  "expires",
  "id",
]);

/** @throws CallError */
function checkBatch(options: BatchOptions): void {
  const unknown = Object.keys(options).find((name) => !OPTIONS.has(name));
  if (unknown !== undefined) throw new CallError("", `"${unknown}" is not an option of a batch.${didYouMean(unknown, OPTIONS)}`);
  const { id, description, parent } = options;
  if (id !== undefined && (typeof id !== "string" || id === "")) throw new CallError("", "id of a batch is not accepted: it takes a text");
  if (description !== undefined && typeof description !== "string")
    throw new CallError("", "description of a batch is not accepted: it takes a text");
  if (parent !== undefined && !(parent instanceof Batch))
    throw new CallError("", "parent of a batch is not accepted: it takes a batch, such as app.openBatch(id)");
}

function lifeOf(app: Lovage, expires: Duration | undefined): number {
  if (expires === undefined) return app.settings.batchExpiresMs;
  const ms = parseDuration(expires);
  if (ms === undefined || ms <= 0) throw new CallError("", `expires of a batch is not accepted: it takes ${DURATION_ACCEPTED}, above 0`);
  return ms;
}

/** @throws ResultsDisabledError, UnsupportedByBrokerError */
export async function batchesOf(app: Lovage): Promise<Batches> {
  const backend = await app.backend();
  if (backend === undefined) throw new ResultsDisabledError();
  if (backend.batches === undefined) throw new UnsupportedByBrokerError("batches", backend.kind);
  return backend.batches;
}

export function infoOf(record: BatchRecord): BatchInfo {
  const { id, parentId, createdAt, completedAt, succeededAt, diedAt } = record;
  const date = (at: number | undefined): Date | undefined => (at === undefined ? undefined : new Date(at));
  return {
    ...summaryOf(record),
    id,
    state: stateOf(record),
    parentId,
    createdAt: new Date(createdAt),
    completedAt: date(completedAt),
    succeededAt: date(succeededAt),
    diedAt: date(diedAt),
  };
}

function stateOf({ sealedAt, completedAt, succeededAt, cancelledAt }: BatchRecord): BatchInfo["state"] {
  if (cancelledAt !== undefined) return "cancelled";
  if (succeededAt !== undefined) return "succeeded";
  return completedAt !== undefined ? "complete" : sealedAt !== undefined ? "sealed" : "open";
}

export function summaryOf({ id, document, total, succeeded, failed, dead, cancelledAt }: BatchRecord): BatchSummary {
  const pending = total - succeeded - failed - dead;
  const { description = null } = decodeBatchDocument(document);
  return { id, description, total, pending, succeeded, failed, dead, cancelled: cancelledAt !== undefined };
}
