/**
 * The messages of one run: they are begun together, hold one slot and count as one loan, and each ends for itself.
 *
 * States: waiting (closed, for a slot) -> running -> ending (some have ended) -> settled.
 */
import { BatchEnds, type ItemEnd, type ItemFacts, type WatchedFacts } from "../app/batch-task.ts";
import { RunningTask } from "../app/running-task.ts";
import type { TaskContext, TaskRequest } from "../app/task-context.ts";
import { newId } from "../shared/ids.ts";
import { type Outcome, outcomeOfThrown } from "./outcome.ts";
import type { PoolJob } from "./pool/pool.ts";
import type { Request } from "./request.ts";
import type { RunHome } from "./run-facts.ts";

/** The calls that a message was made of, and how they end. */
export interface Calls {
  readonly items: readonly Request[];
  /** Resolves when each is settled. Never rejects. */
  readonly end: (outcomes: readonly Outcome[]) => Promise<void>;
  /** Whether a child that is lost once more ends the message for good. */
  readonly isLastLoss: () => boolean;
}

export class Crew implements PoolJob {
  #members: readonly Request[];
  readonly #home: RunHome;
  readonly #calls: Calls | undefined;
  readonly #facts: WatchedFacts[] = [];
  #context: TaskContext | undefined;
  #abort: AbortController | undefined;
  #abortReason: Error | undefined;
  /** As a pool told whose bodies run elsewhere. */
  #each: readonly Outcome[] | undefined;
  #running: number;
  #unsettled: number;
  /** Its calls are being settled. */
  #isEnding = false;

  /** @param calls what the message of a crew of one was made of */
  constructor(members: readonly Request[], home: RunHome, calls?: Calls) {
    this.#members = members;
    this.#home = home;
    this.#calls = calls;
    this.#running = this.#unsettled = members.length;
  }

  /** The messages, or the calls that the message was made of: what the function is given. */
  get items(): readonly Request[] {
    return this.#calls?.items ?? this.#members;
  }

  get members(): readonly Request[] {
    return this.#members;
  }

  /** Goes on with those alone. Returns the others. Before it runs. */
  keep(isKept: (member: Request, i: number) => boolean): readonly Request[] {
    const before = this.#members;
    this.#members = before.filter(isKept);
    return before.filter((member) => !this.#members.includes(member));
  }

  get lead(): Request {
    return this.members[0] as Request; // a crew has at least one
  }

  /** One has ended. True when it was the last: the slot is free. */
  leave(): boolean {
    this.#running -= 1;
    return this.#running === 0;
  }

  /** One is settled. True when it was the last: the loan that they counted as is free. */
  settledLast(): boolean {
    this.#unsettled -= 1;
    return this.#unsettled === 0;
  }

  /** Whether all of them are to end: one alone cannot be stopped. */
  get isToAbort(): boolean {
    return this.members.every(({ verdict, outcome }) => verdict !== undefined || outcome !== undefined);
  }

  get context(): TaskContext {
    return (this.#context ??= this.#makeContext());
  }

  #makeContext(): TaskContext {
    const { lead, items } = this;
    const { app, hostname, clock, random } = this.#home;
    for (const { context } of items) this.#facts.push(itemFacts(context));
    return new RunningTask(batchRequest(lead.context, this.#facts, hostname, clock.now()), {
      app,
      options: lead.options,
      clock,
      random,
      signal: () => this.#signal(),
      storeState: (state, meta) => this.storeState(state, meta),
    });
  }

  #signal(): AbortSignal {
    this.#abort = new AbortController();
    if (this.#abortReason !== undefined) this.#abort.abort(this.#abortReason);
    return this.#abort.signal;
  }

  /** What the messages say for themselves counts; the longest of them, as there is one run for all. */
  get softTimeLimitMs(): number | undefined {
    return longest(this.items.map(({ softTimeLimitMs }) => softTimeLimitMs));
  }

  get timeLimitMs(): number | undefined {
    return longest(this.items.map(({ timeLimitMs }) => timeLimitMs));
  }

  /** A task of batches has none. */
  get hasEndHooks(): boolean {
    return false;
  }

  abort(reason: Error): void {
    this.#abortReason ??= reason;
    this.#abort?.abort(this.#abortReason);
  }

  invoke(): unknown {
    const { context } = this;
    return this.lead.task.invoke(context, context.args, {});
  }

  softLimitReached(limitMs: number): void {
    this.lead.softLimitReached(limitMs);
  }

  async storeState(state: string, meta: unknown): Promise<void> {
    const open = this.items.filter((_, i) => this.#facts[i]?.end === undefined);
    await Promise.all(open.map(async (member) => await member.storeState(state, meta)));
  }

  /** What a batch sends follows from none of its messages in particular. */
  addChild(): void {}

  /** An iteration of a batch would have many messages to write its cursor to: there is none. */
  async checkpoint(): Promise<void> {}
  noteIterated(): void {}
  interrupt(): void {}

  noteEach(outcomes: readonly Outcome[]): void {
    this.#each = outcomes;
  }

  done(outcome: Outcome): void {
    if (this.#calls !== undefined) return void this.#endCalls(this.#calls, outcome);
    this.members.forEach((member, i) => member.done(this.#outcomeOf(i, outcome)));
  }

  /** The calls first, then the message: a crash in between runs them again. */
  async #endCalls({ items, end, isLastLoss }: Calls, outcome: Outcome): Promise<void> {
    const { lead } = this;
    if (lead.outcome !== undefined || this.#isEnding) return; // terminated before: what its body comes to counts for nothing
    const isWhole = outcome.kind === "childLost" || outcome.kind === "interrupted" || outcome.kind === "leaseLost";
    const isLast = lead.isAcked || (outcome.kind === "childLost" && isLastLoss());
    if ((isWhole && !isLast) || lead.verdict?.kind === "leaseLost") return lead.done(outcome);
    this.#isEnding = true;
    const isToldToStop = lead.verdict?.kind === "interrupted";
    const outcomes = items.map((_, i): Outcome => {
      const own = this.#outcomeOf(i, outcome);
      if (own.kind === "childLost") return { kind: "failed", error: own.error, isWeighed: true };
      return own.kind === "failed" && isToldToStop ? { kind: "snoozed", delayMs: 0 } : own;
    });
    await end(outcomes);
    lead.done(isWhole ? outcome : { kind: "succeeded", value: null });
  }

  /** Its own, where it has one; else what the whole run came to. */
  #outcomeOf(i: number, outcome: Outcome): Outcome {
    const told = this.#each?.[i];
    if (told !== undefined) return told;
    if (outcome.kind === "succeeded" && outcome.value instanceof BatchEnds) return outcomeOfEnd(outcome.value.each[i]);
    const mark = this.#facts[i]?.end;
    return mark === undefined ? outcome : outcomeOfEnd(mark);
  }
}

/** Every item has an end once its batch has. */
export function outcomeOfEnd(end: ItemEnd | undefined): Outcome {
  if (end === undefined) return { kind: "failed", error: new Error("the batch said nothing of this message") };
  return "thrown" in end ? outcomeOfThrown(end.thrown) : { kind: "succeeded", value: end.value };
}

/** undefined: one of them has no limit. */
function longest(limits: readonly (number | undefined)[]): number | undefined {
  let most = 0;
  for (const limit of limits) {
    if (limit === undefined) return undefined;
    most = Math.max(most, limit);
  }
  return most;
}

function itemFacts(request: TaskRequest): ItemFacts {
  const { id, args, kwargs, retries, headers, rootId, parentId, group, correlationId, replyTo, delivery, startedAt } = request;
  return { id, args, kwargs, retries, headers, rootId, parentId, group, correlationId, replyTo, delivery, startedAt };
}

/** Facts of the run as a whole: an id of its own, and its messages as its arguments. */
function batchRequest(lead: TaskRequest, args: readonly unknown[], hostname: string, startedAt: number): TaskRequest {
  const id = newId();
  return {
    id,
    task: lead.task,
    args,
    kwargs: {},
    argsrepr: undefined,
    kwargsrepr: undefined,
    rootId: id,
    parentId: undefined,
    group: undefined,
    groupIndex: undefined,
    correlationId: undefined,
    replyTo: undefined,
    retries: 0,
    eta: undefined,
    expires: undefined,
    timeLimitMs: undefined,
    softTimeLimitMs: undefined,
    ignoreResult: null,
    replacedTaskNesting: 0,
    headers: {},
    stampedHeaders: undefined,
    stamps: {},
    shadow: undefined,
    origin: undefined,
    delivery: lead.delivery,
    callbacks: undefined,
    errbacks: undefined,
    chain: undefined,
    chord: undefined,
    hostname,
    workerPid: process.pid,
    startedAt,
    isEager: false,
  };
}
