/**
 * From the end of a run to its settlement: what the run came to, what is written of it, and what waits until that is done. Every request
 * ends in exactly one settlement.
 */
import type { AttemptFacts } from "../app/retry-plan.ts";
import { runAsTask } from "../app/process-wide.ts";
import type { Clock, Random } from "../shared/clock.ts";
import { errorText } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import type { LoanCredit } from "./credit.ts";
import { hasEndHooks, runEndHooks } from "./end-hooks.ts";
import type { SettlementRules } from "./ended-run.ts";
import type { Lanes } from "./lanes.ts";
import type { TaskObserver } from "./observer.ts";
import type { Outcome } from "./outcome.ts";
import type { Request } from "./request.ts";
import type { SettlementAnswer, Settler } from "./settle.ts";
import { planSettlement } from "./settlement.ts";
import type { SuspectTurn } from "./suspect-turn.ts";
import { finalOutcome } from "./verdict.ts";

export interface EndingsDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly lanes: Lanes;
  readonly credit: LoanCredit;
  readonly settler: Settler;
  readonly rules: SettlementRules;
  readonly observers: Required<TaskObserver>;
  readonly suspectTurn: SuspectTurn;
  /** ms since 1970, by the broker's clock. */
  brokerNow(): number;
}

const NOTHING: readonly never[] = [];

export class Endings {
  readonly #deps: EndingsDeps;
  readonly #leaveSlot: (request: Request) => void;

  /** @param leaveSlot called once for each request that ends: its slot, if it has one, is free */
  constructor(deps: EndingsDeps, leaveSlot: (request: Request) => void) {
    this.#deps = deps;
    this.#leaveSlot = leaveSlot;
  }

  ended(request: Request, reported: Outcome): void {
    if (request.outcome !== undefined) return; // interrupted or given up before: what it does afterwards counts for nothing
    request.endedAt = this.#deps.clock.monotonic();
    const { verdict, options } = request;
    request.outcome = finalOutcome(reported, verdict, () => this.#attemptOf(request), options.retry, this.#deps.random);
    if (hasEndHooks(options.hooks) && request.startedAt !== undefined) {
      void this.#endWithHooks(request);
      return;
    }
    this.#settle(request);
    this.#leaveSlot(request);
  }

  /** By the broker's clock, so that workers on other machines agree on when the first attempt began. */
  #attemptOf({ received, startedAt, endedAt }: Request): AttemptFacts {
    const now = this.#deps.brokerNow();
    return { retries: received.retries, headers: received.headers, startedAt: now - (endedAt - (startedAt ?? endedAt)), now };
  }

  /** It does not run: expired, revoked. */
  endUnrun(request: Request, outcome: Outcome): void {
    request.outcome = outcome;
    this.#settle(request);
    this.#leaveSlot(request);
  }

  #settle(request: Request): void {
    const settlement = this.#plan(request);
    if (request.pendingState === undefined) this.#deps.settler.add(settlement, request);
    else void request.pendingState.then(() => this.#deps.settler.add(settlement, request));
  }

  /** A value, or an error, that cannot be written makes the run a failure that says so. */
  #plan(request: Request): ReturnType<typeof planSettlement> {
    const now = this.#deps.brokerNow();
    const { rules, logger } = this.#deps;
    try {
      return planSettlement(request.outcome as Outcome, request, rules, now);
    } catch (error) {
      request.outcome = { kind: "failed", error };
    }
    try {
      return planSettlement(request.outcome, request, rules, now);
    } catch (error) {
      logger.error(
        { err: error, task: request.received.task, taskId: request.received.id },
        `the outcome of a task could not be written: ${errorText(error)}`,
      );
      return planSettlement({ kind: "ignored" }, request, rules, now);
    }
  }

  /** Its result is stored, then its hooks run, then its loan ends: a crash in between runs it again, hooks included. */
  async #endWithHooks(request: Request): Promise<void> {
    const settlement = this.#plan(request);
    const outcome = request.outcome as Outcome;
    const { results = NOTHING } = settlement;
    await request.pendingState;
    if (results.length > 0) await this.perform({ delivery: undefined, queue: request.delivery.queue, results, publish: NOTHING });
    try {
      const elsewhere = this.#deps.lanes.of(request).pool.runEndHooks?.(request, outcome);
      await (elsewhere ?? runAsTask(request.context, () => runEndHooks(request.options.hooks, outcome, request.context)));
    } catch (error) {
      const { task, id } = request.received;
      this.#deps.logger.error({ err: error, task, taskId: id }, `a hook of the task ${task}[${id}] failed: ${errorText(error)}`);
    }
    this.#deps.settler.add({ ...settlement, results: NOTHING }, request);
    this.#leaveSlot(request);
  }

  /** Resolves when the broker has answered. */
  perform(settlement: Parameters<Settler["add"]>[0]): Promise<SettlementAnswer> {
    return new Promise((resolve) => this.#deps.settler.add(settlement, { settled: resolve }));
  }

  settled(request: Request, answer: SettlementAnswer): void {
    if (!request.isAcked && request.crew?.settledLast() !== false) this.#deps.credit.freeLoan();
    const outcome = request.outcome as Outcome;
    if (answer === "lost") this.#deps.observers.lost(request);
    else if (answer === "settled") {
      const runtimeMs = request.startedAt === undefined ? undefined : request.endedAt - request.startedAt;
      this.#deps.observers.ended(request, outcome, runtimeMs);
    }
    this.#deps.suspectTurn.free(request); // not before: the next one may kill this process, and with it what is not settled yet
  }

  /** It is given up while it runs: its message goes back, or, if it was acknowledged early, its end is recorded. */
  interrupt(request: Request): void {
    request.endedAt = this.#deps.clock.monotonic();
    request.outcome = request.verdict?.kind === "leaseLost" ? request.verdict : { kind: "interrupted" };
    this.#settle(request);
    this.#leaveSlot(request);
  }

  /** What a call without a loan of its own came to. */
  judgeCall(call: Request, reported: Outcome): Outcome {
    return finalOutcome(reported, undefined, () => this.#attemptOf(call), call.options.retry, this.#deps.random);
  }

  settleCall(call: Request): Promise<SettlementAnswer> {
    return this.perform(this.#plan(call));
  }
}
