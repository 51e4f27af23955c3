/**
 * Puts calls of tasks that aggregate into their groups, and publishes groups that are full or due as one message each.
 *
 * The broker keeps the groups: a call is folded in the step that ends its loan, and published in the step that takes it out, so it is in
 * one place whoever crashes. Any worker that knows the task publishes what is due; two that try do it once. Messages of every
 * producer come this way, because it is the worker that folds.
 */
import { groupText, readGroup, type ResolvedAggregate } from "../app/aggregate-task.ts";
import type { Aggregates, Fold } from "../brokers/aggregates.ts";
import type { Envelope } from "../brokers/envelope-edits.ts";
import { AGGREGATE_HEADER } from "../protocol/aggregate.ts";
import { encodeTaskMessage, type MessageCodec } from "../protocol/task-message.ts";
import { type Clock, type Random, sleep, type Timer } from "../shared/clock.ts";
import { errorText } from "../shared/errors.ts";
import { newId } from "../shared/ids.ts";
import type { Logger } from "../shared/log.ts";
import { backoffMs } from "./backoff.ts";
import type { LoanCredit } from "./credit.ts";
import type { Request } from "./request.ts";

export interface FoldingDeps {
  readonly aggregates: Aggregates;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly credit: LoanCredit;
  readonly codec: MessageCodec;
  brokerNow(): number;
  /** The rules of a task; undefined where this worker does not know it, or it does not aggregate. */
  rulesOf(task: string): ResolvedAggregate | undefined;
  /** It is in a group: nothing of it is here any more. */
  folded(request: Request): void;
  /** Another has its message by now. */
  lost(request: Request): void;
}

/** What other workers left behind is looked for so often, about. */
const LOOK_MS = 2000;
/** Nothing is looked for sooner than after so long. */
const SOONEST_MS = 20;
/** More, when most of them are of tasks that only others know. */
const DUE_AT_ONCE = 50;
const DUE_MAX = 5000;
/** Of envelopes in one message; one always fits. */
const MESSAGE_BYTES = 4 * 1024 * 1024;
const RETRY = { baseMs: 100, maxMs: 5000 };

export class Folding {
  readonly #deps: FoldingDeps;
  readonly #stop = new AbortController();
  #gathered: { readonly request: Request; readonly group: string; readonly rules: ResolvedAggregate }[] = [];
  #isPlanned = false;
  #timer: Timer | undefined;
  #looksAt = Number.POSITIVE_INFINITY;
  #looking: Promise<void> | undefined;
  #dueAtOnce = DUE_AT_ONCE;
  #folding: Promise<void> = Promise.resolve();

  constructor(deps: FoldingDeps) {
    this.#deps = deps;
  }

  /** Begins to look for groups that are due. */
  begin(): void {
    this.#lookIn(LOOK_MS * (0.5 + this.#deps.random()));
  }

  /** It has a loan and counts as busy. @throws what the user's key function throws */
  add(request: Request, rules: ResolvedAggregate): void {
    const { received, delivery } = request;
    const key = rules.keyOf(received.body().args);
    this.#gathered.push({ request, group: groupText({ queue: delivery.queue, task: received.task, key }), rules });
    this.#deps.credit.freeSlot();
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    setImmediate(() => {
      this.#isPlanned = false;
      const all = this.#gathered;
      this.#gathered = [];
      this.#folding = Promise.all([this.#folding, this.#fold(all)]).then(() => undefined);
    });
  }

  /** Resolves when all that came is folded, or cannot be. */
  async end(): Promise<void> {
    this.#timer?.cancel();
    while (this.#isPlanned) await new Promise<void>((resolve) => setImmediate(resolve));
    await this.#folding;
    this.#stop.abort(new Error("the worker stops"));
    await this.#looking;
  }

  /** Gives up. What is on loan still goes back with the lease. */
  abandon(): void {
    this.#timer?.cancel();
    this.#stop.abort(new Error("the worker has stopped"));
  }

  async #fold(all: readonly { readonly request: Request; readonly group: string; readonly rules: ResolvedAggregate }[]): Promise<void> {
    const { aggregates, credit } = this.#deps;
    const now = this.#deps.brokerNow();
    const folds = all.map(({ request, group, rules }): Fold => ({ delivery: request.delivery, group, dueAt: now + rules.waitMs }));
    const counts = await this.#persist("fold calls into their groups", () => aggregates.fold(folds));
    const full = new Set<string>();
    for (const [i, { request, group, rules }] of all.entries()) {
      credit.freeLoan();
      const count = counts?.[i];
      if (count === undefined) continue; // the worker has stopped
      if (count === "lost") {
        this.#deps.lost(request);
        continue;
      }
      this.#deps.folded(request);
      if (count >= rules.size) full.add(group);
      else this.#lookIn(rules.waitMs);
    }
    for (const group of full) await this.#publishSafely(group, true);
  }

  #lookIn(ms: number): void {
    if (this.#stop.signal.aborted) return;
    const { clock } = this.#deps;
    const waitMs = Math.max(SOONEST_MS, Math.min(ms, LOOK_MS));
    const at = clock.monotonic() + waitMs;
    if (at >= this.#looksAt) return;
    this.#looksAt = at;
    this.#timer?.cancel();
    this.#timer = clock.timer(
      waitMs,
      () => {
        this.#looksAt = Number.POSITIVE_INFINITY;
        this.#looking ??= this.#look().finally(() => (this.#looking = undefined));
      },
      { background: true },
    );
  }

  async #look(): Promise<void> {
    const { aggregates, random, logger } = this.#deps;
    let nextMs = LOOK_MS * (0.75 + random() / 2);
    try {
      const now = this.#deps.brokerNow();
      const { groups, nextDueAt } = await aggregates.due(now, this.#dueAtOnce);
      const ours = groups.filter((group) => this.#rulesOf(group) !== undefined);
      for (const group of ours) await this.#publishSafely(group, false);
      const isCut = groups.length === this.#dueAtOnce;
      // Those of a service whose workers are away must not hide ours.
      this.#dueAtOnce = isCut && ours.length * 2 < groups.length ? Math.min(DUE_MAX, this.#dueAtOnce * 4) : DUE_AT_ONCE;
      if (isCut && (ours.length > 0 || this.#dueAtOnce > groups.length)) nextMs = 0;
      else if (nextDueAt !== undefined) nextMs = Math.min(nextMs, nextDueAt - now);
    } catch (error) {
      logger.debug({ err: error }, `groups that are due could not be looked for: ${errorText(error)}`);
    }
    this.#lookIn(nextMs);
  }

  async #publishSafely(group: string, isFullOnly: boolean): Promise<void> {
    try {
      await this.#publish(group, isFullOnly);
    } catch (error) {
      this.#deps.logger.warn({ err: error, group }, `a group of calls could not be published now: ${errorText(error)}`);
      this.#lookIn(LOOK_MS);
    }
  }

  #rulesOf(group: string): ResolvedAggregate | undefined {
    const name = readGroup(group);
    return name && this.#deps.rulesOf(name.task);
  }

  /** In messages of at most `size` calls; with `isFullOnly` what is no full one stays until it is due. */
  async #publish(group: string, isFullOnly: boolean): Promise<void> {
    const { aggregates, codec } = this.#deps;
    const name = readGroup(group);
    const rules = this.#rulesOf(group);
    if (name === undefined || rules === undefined) return; // another worker knows it
    while (!this.#stop.signal.aborted) {
      const first = await aggregates.first(group, rules.size);
      if (first.length === 0 || (isFullOnly && first.length < rules.size)) return;
      const taken = withinBytes(first);
      const task = {
        id: newId(),
        task: name.task,
        args: taken.map(textOf),
        kwargs: {},
        argsrepr: `(${taken.length} calls)`,
        kwargsrepr: "{}",
        ignoreResult: true,
        headers: { [AGGREGATE_HEADER]: taken.length },
      };
      const message = encodeTaskMessage(task, { ...codec, now: this.#deps.brokerNow() });
      if (!(await aggregates.publish(group, taken, { message, exchange: "", routingKey: name.queue }))) return;
    }
  }

  /** Until it succeeds, or the worker has stopped. */
  async #persist<T>(what: string, step: () => Promise<T>): Promise<T | undefined> {
    const { clock, random, logger } = this.#deps;
    for (let failures = 0; !this.#stop.signal.aborted; failures++) {
      try {
        return await step();
      } catch (error) {
        if (failures === 0) logger.warn({ err: error }, `could not ${what}, trying again: ${errorText(error)}`);
        await sleep(clock, backoffMs(failures, RETRY, random), this.#stop.signal).catch(() => undefined);
      }
    }
    return undefined;
  }
}

const textOf = (envelope: Envelope): string => (typeof envelope === "string" ? envelope : new TextDecoder().decode(envelope)).trim();

function withinBytes(envelopes: readonly Envelope[]): readonly Envelope[] {
  let bytes = 0;
  const end = envelopes.findIndex(({ length }) => (bytes += length) > MESSAGE_BYTES);
  return end === -1 ? envelopes : envelopes.slice(0, Math.max(1, end));
}
