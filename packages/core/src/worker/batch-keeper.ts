/**
 * Ends batches: publishes the callbacks that are due and tells parents of their children. Whoever brought something about
 * does so at once; what a crash left is due still, and any worker finds it a few seconds later. What is published goes out in the
 * step that removes the record, where the stores are one; elsewhere before it, and a crash in between repeats it under the same ids.
 *
 * Batches that hear nothing for a while are looked after: members that ended on workers that cannot report (Python's), or became dead
 * letters without having been run, are found by their results and letters.
 */
import { memberId, decodeBatchDocument } from "../canvas/batch-member.ts";
import { encodeGroup } from "../canvas/saved-group.ts";
import { type Plan, unroll } from "../canvas/unroll.ts";
import { summaryOf } from "../app/batch.ts";
import type { Broker, Outgoing } from "../brokers/broker.ts";
import { decodeResult, encodeResult } from "../protocol/result.ts";
import { isReady } from "../protocol/states.ts";
import type { Batches, BatchRecord, DueCallback, MemberEnd } from "../results/batches.ts";
import type { ResultBackend } from "../results/result-backend.ts";
import type { Clock, Random, Timer } from "../shared/clock.ts";
import { errorText } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";

export interface BatchKeeperDeps {
  readonly broker: Broker;
  readonly backend: ResultBackend;
  readonly batches: Batches;
  readonly queues: readonly string[];
  readonly resultSerializer: string;
  readonly resultExpiresMs: number | undefined;
  readonly accept: ReadonlySet<string>;
  encodeCalls(calls: Plan["calls"]): readonly Outgoing[];
  brokerNow(): number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Between two looks for what others have left. */
const SWEEP_MS = 2000;
/** Whoever brought it about has so long to see to it. */
const LEFT_MS = 1000;
/** Callbacks of one look. */
const DUE_MAX = 100;
/** A batch without a report for so long is looked after, so many members at a time. */
const QUIET_MS = 30_000;
const QUIET_MAX = 5;
const PLACES = 20_000;
const RESULTS = 1000;
const LETTERS = 100;

export class BatchKeeper {
  readonly #deps: BatchKeeperDeps;
  readonly #ending = new AbortController();
  /** Where the next look at a quiet batch begins. */
  readonly #cursors = new Map<string, number>();
  #timer: Timer | undefined;
  #looking: Promise<void> | undefined;
  #isLookedAgain = false;

  constructor(deps: BatchKeeperDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { clock, random } = this.#deps;
    this.#timer = clock.timer(
      SWEEP_MS * (0.75 + random() / 2),
      () => {
        void this.#look(LEFT_MS)
          .then(() => this.#lookAfterQuiet())
          .finally(() => this.#ending.signal.aborted || this.start());
      },
      { background: true },
    );
  }

  /** Something has become due by us. */
  kick(): void {
    if (this.#looking === undefined) void this.#look(0);
    else this.#isLookedAgain = true;
  }

  /** Resolves when nothing of what has become due here is under way. */
  async whenIdle(): Promise<void> {
    while (this.#looking !== undefined) await this.#looking;
  }

  /** What is not published yet stays due, for another worker. */
  stop(): void {
    this.#timer?.cancel();
    this.#ending.abort(new Error("the worker has stopped"));
  }

  /** Never rejects. */
  #look(minAgeMs: number): Promise<void> {
    this.#looking ??= this.#endAll(minAgeMs)
      .catch((error: unknown) => {
        if (!this.#ending.signal.aborted)
          this.#deps.logger.warn({ err: error }, `callbacks of batches are not published yet: ${errorText(error)}`);
      })
      .finally(() => {
        this.#looking = undefined;
        if (!this.#isLookedAgain || this.#ending.signal.aborted) return;
        this.#isLookedAgain = false;
        this.kick();
      });
    return this.#looking;
  }

  async #endAll(minAgeMs: number): Promise<void> {
    for (;;) {
      const due = await this.#deps.batches.due({ limit: DUE_MAX, minAgeMs });
      let ended = 0;
      for (const each of due) {
        this.#ending.signal.throwIfAborted();
        if (await this.#end(each)) ended += 1;
      }
      if (due.length < DUE_MAX || ended === 0) return;
    }
  }

  /** False when somebody else has, or it cannot be. */
  async #end(due: DueCallback): Promise<boolean> {
    const { batches, logger } = this.#deps;
    const [record] = await batches.read([due.id]);
    if (record === undefined) return await batches.done(due); // it has expired
    try {
      await this.#tellParent(record, due);
      if (due.event === "complete") await this.#tellWaiting(record);
      return await this.#publish(due, this.#callback(record, due));
    } catch (error) {
      if (this.#ending.signal.aborted) throw error;
      logger.error({ err: error, batch: due.id }, `the ${due.event} of batch ${due.id} could not be told yet: ${errorText(error)}`);
      return false;
    }
  }

  async #tellParent({ parentId, place, dead, succeededAt }: BatchRecord, { event }: DueCallback): Promise<void> {
    if (parentId === undefined || place === undefined) return;
    const { batches } = this.#deps;
    let isDue = false;
    if (event === "death") isDue = await batches.die(parentId);
    else if (event === "success" || succeededAt !== undefined) isDue = await batches.report(parentId, [{ place, state: "succeeded" }]);
    else isDue = await batches.report(parentId, [{ place, state: dead > 0 ? "dead" : "failed" }]);
    if (isDue) this.#isLookedAgain = true;
  }

  /** As the result of a task of its id, for all who wait by the usual means. */
  async #tellWaiting(record: BatchRecord): Promise<void> {
    const { backend, resultSerializer, resultExpiresMs: expiresMs, brokerNow } = this.#deps;
    const document = encodeResult(
      {
        taskId: record.id,
        state: "SUCCESS",
        result: summaryOf(record),
        error: undefined,
        traceback: null,
        children: [],
        dateDoneAt: brokerNow(),
      },
      { serializer: resultSerializer },
    );
    await backend.store([{ taskId: record.id, state: "SUCCESS", document, expiresMs }], { signal: this.#ending.signal });
  }

  /** undefined: nothing is called. */
  #callback(record: BatchRecord, { event }: DueCallback): Plan | undefined {
    const signature = decodeBatchDocument(record.document).callbacks[event];
    return signature && unroll(signature, { args: [summaryOf(record)] });
  }

  async #publish(due: DueCallback, plan: Plan | undefined): Promise<boolean> {
    const { broker, backend, batches, queues, encodeCalls, resultSerializer, resultExpiresMs: expiresMs } = this.#deps;
    const { signal } = this.#ending;
    if (plan === undefined) return await batches.done(due);
    if (plan.sizes.length > 0) await backend.groups.begin(plan.sizes.map((size) => ({ ...size, expiresMs })));
    for (const tuple of plan.nested) await backend.groups.save(tuple[0][0], encodeGroup(tuple, resultSerializer), expiresMs);
    const messages = encodeCalls(plan.calls);
    const home = queues[0] ?? "celery";
    if (broker.dueCallbacks !== undefined && broker.settlesWith(backend))
      return await broker.dueCallbacks.publish(due, messages, { backend, home, signal });
    await broker.publish(messages, { signal });
    return await batches.done(due);
  }

  // --- members that did not report ---------------------------------------------------------------------------------

  /** Never rejects. */
  async #lookAfterQuiet(): Promise<void> {
    try {
      for (const id of await this.#deps.batches.quiet({ limit: QUIET_MAX, minAgeMs: QUIET_MS })) await this.reconcile(id);
    } catch (error) {
      if (!this.#ending.signal.aborted)
        this.#deps.logger.debug({ err: error }, `batches that hear nothing could not be looked after: ${errorText(error)}`);
    }
  }

  /** Counts members that have ended without a report, of the next so many places. Returns how many. */
  async reconcile(id: string): Promise<number> {
    const { batches } = this.#deps;
    const first = this.#cursors.get(id) ?? 0;
    const states = await batches.states(id, first, PLACES);
    const pending = states.flatMap((state, i) => (state === "pending" ? [first + i] : [])).slice(0, RESULTS);
    const last = pending.length === RESULTS ? (pending.at(-1) as number) + 1 : first + PLACES;
    if (states.length < PLACES && pending.length < RESULTS) this.#cursors.delete(id);
    else this.#cursors.set(id, last);
    const ends = [...(await this.#endsByResult(id, pending))];
    const known = new Set(ends.map(({ place }) => place));
    ends.push(...(await this.#endsByLetter(id, pending.filter((place) => !known.has(place)).slice(0, LETTERS))));
    if (ends.length > 0 && (await batches.report(id, ends))) this.kick();
    return ends.length;
  }

  async #endsByResult(batchId: string, places: readonly number[]): Promise<readonly MemberEnd[]> {
    const { backend, accept, resultSerializer: serializer } = this.#deps;
    const texts = await backend.fetch(places.map((place) => memberId({ batchId, place })));
    return places.flatMap((place, i): readonly MemberEnd[] => {
      const text = texts[i];
      if (text === undefined) return [];
      const { state, deadLetter } = decodeResult(text, { accept, serializer });
      if (!isReady(state)) return [];
      return [{ place, state: state === "SUCCESS" ? "succeeded" : deadLetter === undefined ? "failed" : "dead" }];
    });
  }

  async #endsByLetter(batchId: string, places: readonly number[]): Promise<readonly MemberEnd[]> {
    const { broker, queues } = this.#deps;
    const ends: MemberEnd[] = [];
    for (const place of places)
      for (const queue of queues)
        if (await broker.deadLetters?.get(queue, memberId({ batchId, place }))) {
          ends.push({ place, state: "dead" });
          break;
        }
    return ends;
  }
}
