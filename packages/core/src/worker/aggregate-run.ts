/**
 * The run of a message that was made of calls. The message is on loan, the calls are not: each call is settled for itself,
 * idempotent by its id, and the message's loan ends after all of them. A crash in between runs them again.
 */
import { AGGREGATE_HEADER } from "../protocol/aggregate.ts";
import type { ReceivedTask } from "../protocol/task-message.ts";
import type { Clock } from "../shared/clock.ts";
import { Crew } from "./crew.ts";
import { isPoison, type SettlementRules } from "./ended-run.ts";
import type { TaskObserver } from "./observer.ts";
import type { Outcome } from "./outcome.ts";
import { callsIn, readCall } from "./refused-calls.ts";
import { Request, type RequestHome } from "./request.ts";
import type { SettlementAnswer } from "./settle.ts";

export interface CallRunsDeps {
  readonly home: RequestHome;
  readonly clock: Clock;
  readonly rules: SettlementRules;
  readonly observers: Required<TaskObserver>;
  /** Content types that are read. */
  accept(): ReadonlySet<string>;
  isRevoked(request: Request): boolean;
  /** ms since 1970, by the broker's clock. */
  brokerNow(): number;
  /** What its run counts as, its retries weighed. */
  judge(call: Request, reported: Outcome): Outcome;
  /** Stores and publishes what follows from the call's outcome. Never rejects. */
  settle(call: Request): Promise<SettlementAnswer>;
}

export function isAggregate({ received, options }: Request): boolean {
  return options.aggregate !== undefined && typeof received.headers[AGGREGATE_HEADER] === "number";
}

export class CallRuns {
  readonly #deps: CallRunsDeps;

  constructor(deps: CallRunsDeps) {
    this.#deps = deps;
  }

  /** The run of those calls that may run; the others end here. An outcome instead: the message ends with it, unrun. */
  crewOf(carrier: Request): Crew | Promise<Outcome> {
    let calls: readonly Request[];
    try {
      calls = carrier.received.body().args.map((text) => this.#requestOf(readCall(text, this.#deps.accept()), carrier));
    } catch (error) {
      const failed: Outcome = { kind: "failed", error, isWeighed: true };
      return this.endAll(carrier, failed).then(() => failed);
    }
    const unrun: Promise<void>[] = [];
    const items = calls.filter((call) => {
      const outcome = this.#outcomeUnrun(call);
      if (outcome !== undefined) unrun.push(this.#end(call, outcome));
      return outcome === undefined;
    });
    if (items.length === 0) return Promise.all(unrun).then(() => ({ kind: "ignored" }));
    const end = async (outcomes: readonly Outcome[]): Promise<void> => {
      await Promise.all([...unrun, ...items.map(async (item, i) => await this.#end(item, outcomes[i] as Outcome))]); // one for each
    };
    const isLastLoss = (): boolean => !carrier.options.rejectOnWorkerLost || isPoison(carrier, this.#deps.rules);
    return new Crew([carrier], this.#deps.home, { items, end, isLastLoss });
  }

  /** Its calls end as it does, unrun. */
  async endAll(carrier: Request, outcome: Outcome): Promise<void> {
    const calls = callsIn(carrier.received, this.#deps.accept());
    await Promise.all(calls.map(async (call) => await this.#end(this.#requestOf(call, carrier), outcome)));
  }

  /** Without a loan: when it was folded, that ended. */
  #requestOf(received: ReceivedTask, { delivery, task }: Request): Request {
    const call = new Request(delivery, received, task, this.#deps.home);
    call.isAcked = true;
    return call;
  }

  /** Undefined: it may run. */
  #outcomeUnrun(call: Request): Outcome | undefined {
    const { expires } = call.received;
    if (expires !== undefined && expires.at < this.#deps.brokerNow()) return { kind: "revoked", how: "expired" };
    return this.#deps.isRevoked(call) ? { kind: "revoked", how: "revoked" } : undefined;
  }

  async #end(call: Request, reported: Outcome): Promise<void> {
    const { clock, observers } = this.#deps;
    call.endedAt = clock.monotonic();
    call.outcome = this.#deps.judge(call, reported);
    await call.pendingState;
    const answer = await this.#deps.settle(call);
    const runtimeMs = call.startedAt === undefined ? undefined : call.endedAt - call.startedAt;
    if (answer === "settled") observers.ended(call, call.outcome, runtimeMs);
  }
}
