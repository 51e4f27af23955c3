/**
 * A delivery decoded for one task, from its receipt to its settlement.
 *
 * States: waiting (for its ETA, for a slot, for its early ack) -> running -> settling -> gone. From waiting it may go
 * straight to settling (expired, revoked, put back, parked).
 */
import type { Iterated } from "../app/iteration.ts";
import type { ResultTuple } from "../canvas/result-tuple.ts";
import { RunningTask } from "../app/running-task.ts";
import type { AnyTask } from "../app/task.ts";
import type { ResolvedTaskOptions } from "../app/task-options.ts";
import type { Delivery } from "../brokers/broker.ts";
import type { ReceivedTask } from "../protocol/task-message.ts";
import type { Crew } from "./crew.ts";
import { hasEndHooks } from "./end-hooks.ts";
import { invokeTask } from "./invoke.ts";
import type { Outcome } from "./outcome.ts";
import type { PoolJob } from "./pool/pool.ts";
import type { RosterMember } from "../shared/roster.ts";
import { RunFacts, type RunHome } from "./run-facts.ts";
import type { SettlementAnswer, SettlementOwner } from "./settle.ts";
import type { EndedRun } from "./ended-run.ts";

/** Where requests live: told what becomes of them. */
export interface RequestHome extends RunHome {
  ended(request: Request, outcome: Outcome): void;
  settled(request: Request, answer: SettlementAnswer): void;
  softLimitReached(request: Request, limitMs: number): void;
}

export class Request implements EndedRun, PoolJob, RosterMember, SettlementOwner {
  readonly delivery: Delivery;
  readonly received: ReceivedTask;
  readonly task: AnyTask;
  readonly options: ResolvedTaskOptions;
  readonly #home: RequestHome;
  #context: RunningTask | undefined;
  #abort: AbortController | undefined;
  #abortReason: Error | undefined;
  /** As a body told that runs elsewhere. */
  #iterated: Iterated | undefined;
  place = -1;
  /** When it could have begun had there been a slot, by the monotonic clock; 0 when nobody measures that. */
  readyAt = 0;
  /** Ids of the limits for the whole cluster that it is under; undefined: none, or not looked at yet. */
  limits: readonly string[] | undefined;
  /** It counts as running under them. */
  isHeld = false;
  /** Observers have heard of it. */
  isTold = false;
  /** Those that run with it in one batch; undefined when it runs alone. */
  crew: Crew | undefined;
  /** Acknowledged before its body began. */
  isAcked = false;
  /** By the monotonic clock; undefined before its body began. */
  startedAt: number | undefined;
  endedAt = 0;
  /** What the worker decided while it ran; `verdict.ts` weighs it against what the body says of itself. */
  verdict: Outcome | undefined;
  /** How it ended; set once. */
  outcome: Outcome | undefined;
  /** The last state that was told while it ran; it is stored before the outcome. */
  pendingState: Promise<void> | undefined;

  constructor(delivery: Delivery, received: ReceivedTask, task: AnyTask, home: RequestHome) {
    this.delivery = delivery;
    this.received = received;
    this.task = task;
    this.options = task.options;
    this.#home = home;
  }

  get context(): RunningTask {
    if (this.#context === undefined) {
      const facts = new RunFacts(this, this.#home);
      this.#context = new RunningTask(facts, facts);
    }
    return this.#context;
  }

  get children(): readonly unknown[] {
    return this.options.trail && this.#context !== undefined ? this.#context.children : NO_CHILDREN;
  }

  /** How far its iterations have come. @throws CallError when it cannot be written */
  get iterated(): Iterated | undefined {
    return this.#iterated ?? this.#context?.iterated;
  }

  /** It is no batch. */
  noteEach(): void {}

  noteIterated(iterated: Iterated): void {
    this.#iterated = iterated;
  }

  /** Its iteration is to stop after the step that it is at. One that has none takes no notice. */
  interrupt(): void {
    this.context.interrupt();
  }

  checkpoint(text: string): Promise<void> {
    return this.#home.checkpoint(this, text);
  }

  /** The message's own limit wins over the task's (celery-protocol.md 1.1, `timelimit`). */
  get timeLimitMs(): number | undefined {
    return this.received.timeLimitMs || this.options.timeLimitMs;
  }

  get softTimeLimitMs(): number | undefined {
    return this.received.softTimeLimitMs || this.options.softTimeLimitMs;
  }

  /** Made when it is first asked for: most tasks never do. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#abortReason !== undefined) this.#abort.abort(this.#abortReason);
    }
    return this.#abort.signal;
  }

  /** The first reason stays. */
  abort(reason: Error): void {
    if (this.#abortReason !== undefined) return;
    this.#abortReason = reason;
    this.#abort?.abort(reason);
  }

  invoke(): unknown {
    const { args, kwargs } = this.received.body();
    return invokeTask(this.task, this.context, args, kwargs);
  }

  get hasEndHooks(): boolean {
    return hasEndHooks(this.options.hooks);
  }

  storeState(state: string, meta: unknown): Promise<void> {
    return this.#home.storeState(this, state, meta);
  }

  addChild(child: ResultTuple): void {
    this.context.addChild(child);
  }

  softLimitReached(limitMs: number): void {
    this.#home.softLimitReached(this, limitMs);
  }

  done(outcome: Outcome): void {
    this.#home.ended(this, outcome);
  }

  settled(answer: SettlementAnswer): void {
    this.#home.settled(this, answer);
  }
}

const NO_CHILDREN: readonly unknown[] = [];
