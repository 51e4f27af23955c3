/**
 * What happens to a delivery before it may run: decoded, looked up, and sent on its way: to a slot, to wait for its
 * ETA, to be parked, refused or given back. One delivery that is broken never harms the others.
 */
import type { ResolvedAggregate } from "../app/aggregate-task.ts";
import type { AnyTask } from "../app/task.ts";
import type { Delivery, LoanEnd } from "../brokers/broker.ts";
import type { PausedQueues } from "../brokers/queue-pauses.ts";
import { readTaskMessage, type ReceivedTask } from "../protocol/task-message.ts";
import type { Random } from "../shared/clock.ts";
import { errorText } from "../shared/errors.ts";
import { isAggregate } from "./aggregate-run.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { DueHeap } from "./eta.ts";
import type { Folding } from "./folding.ts";
import type { LimitGate } from "./limits/gate.ts";
import type { Outcome } from "./outcome.ts";
import { Request } from "./request.ts";
import type { KnownRevocations } from "./revocations.ts";
import type { SettlementOwner } from "./settle.ts";
import { Throttle } from "./throttle.ts";
import { Unrunnable, type UnrunnableDeps, type UnrunnableLimits } from "./unrunnable.ts";

export interface IntakeDeps extends UnrunnableDeps {
  readonly random: Random;
  readonly dispatcher: Dispatcher;
  /** undefined: the broker has no limits for all workers. */
  readonly gate: LimitGate | undefined;
  /** undefined: the broker keeps no groups, so that calls are gathered in this worker alone. */
  readonly folding: Folding | undefined;
  readonly revocations: KnownRevocations;
  readonly pauses: PausedQueues;
  readonly limits: IntakeLimits;
  findTask(name: string): AnyTask | undefined;
  /** undefined: redelivered messages run again, whatever became of their first run. */
  readonly hasSucceeded: ((taskId: string) => Promise<boolean>) | undefined;
}

export interface IntakeLimits extends UnrunnableLimits {
  /** What is due later than this from now is parked. */
  readonly parkThresholdMs: number;
  /** Messages that wait in memory for their ETA at most; what comes beyond is parked. */
  readonly etaMax: number;
  /** Messages that were lost with a worker before and wait here for their turn at most; further ones are parked for a moment, so that other workers take some. */
  readonly suspectsMax: number;
  readonly ignoresRateLimits: boolean;
  /** Messages that wait in memory for their task's rate at most; what comes beyond is parked. */
  readonly throttledMax: number;
}

const SUSPECT_PARKED_MS = 2000;

const EXPIRED: Outcome = { kind: "revoked", how: "expired" };
const REVOKED: Outcome = { kind: "revoked", how: "revoked" };
const PUT_BACK: LoanEnd = { kind: "putBack" };
const NOTHING: readonly never[] = [];

export class Intake {
  readonly #deps: IntakeDeps;
  readonly #waiting: DueHeap<Request>;
  /** Ready, but its task's rate limit says not yet. */
  readonly #throttle: Throttle;
  readonly #unrunnable: Unrunnable;
  readonly #loan: SettlementOwner;
  /** How often all was given back: at the end, and when the lease was lost. */
  #stops = 0;

  constructor(deps: IntakeDeps) {
    this.#deps = deps;
    const { clock, credit, limits } = deps;
    this.#waiting = new DueHeap(clock, deps.brokerNow, (due) => this.#resume(due));
    this.#throttle = new Throttle({
      clock,
      brokerNow: deps.brokerNow,
      isOff: limits.ignoresRateLimits,
      waitMax: limits.throttledMax,
      start: (requests) => this.#start(requests),
      waits: () => credit.freeSlot(),
      park: deps.broker.delayed && ((request, dueAt) => this.park(request, dueAt)),
    });
    this.#unrunnable = new Unrunnable(deps);
    this.#loan = { settled: () => credit.freeLoan() };
  }

  /** Messages that wait in memory for their ETA. */
  get waiting(): number {
    return this.#waiting.size;
  }

  take(batch: readonly Delivery[]): void {
    const { pauses } = this.#deps;
    if (pauses.isAny && batch.some(({ queue }) => pauses.has(queue))) {
      this.giveBack(batch.filter(({ queue }) => pauses.has(queue))); // it was on its way when the queue was paused
      return this.take(batch.filter(({ queue }) => !pauses.has(queue)));
    }
    for (const delivery of batch) {
      this.#deps.credit.take();
      this.#takeOne(delivery);
    }
    this.#deps.gate?.flush();
    this.#deps.dispatcher.pump();
  }

  /** Looks at none of them: whether they are still this worker's is for the broker to say. */
  giveBack(batch: readonly Delivery[]): void {
    const { credit, settler } = this.#deps;
    for (const delivery of batch.toReversed()) {
      credit.take();
      credit.freeSlot();
      settler.add({ delivery, end: PUT_BACK, results: NOTHING, publish: NOTHING }, this.#loan);
    }
  }

  /** Gives back all that waits here. */
  stop(): void {
    const { credit, dispatcher } = this.#deps;
    this.#stops += 1;
    const requests = this.#waiting.clear();
    for (const _ of requests) credit.wantLoan();
    dispatcher.putBack([...(this.#deps.gate?.clear() ?? []), ...this.#throttle.clear(), ...requests]);
    this.#unrunnable.stop();
  }

  #takeOne(delivery: Delivery): void {
    const { limits, dispatcher } = this.#deps;
    let received: ReceivedTask;
    try {
      const { message, info } = delivery.open();
      received = readTaskMessage(message, info, { accept: limits.accept });
    } catch (error) {
      return this.#unrunnable.undecodable(delivery, error);
    }
    const task = this.#deps.findTask(received.task);
    if (delivery.losses >= this.#deps.rules.maxDeliveries) return this.#unrunnable.poison(delivery, received, task);
    if (task === undefined) return this.#unrunnable.unknown(delivery, received);
    let request: Request;
    try {
      request = new Request(delivery, received, task, dispatcher);
    } catch (error) {
      return this.#unrunnable.badlyDefined(delivery, received, error);
    }
    const { expires } = received;
    const { revocations } = this.#deps;
    if (expires && expires.at < this.#deps.brokerNow()) return this.#endUnrun(request, EXPIRED);
    if (!revocations.isEmpty) {
      if (revocations.has(received)) return this.#endUnrun(request, REVOKED);
      if (revocations.isPartial) return void this.#takeUnlessRevoked(request);
    }
    this.#takeKnown(request);
  }

  /** More are revoked than this worker has in memory. When the broker cannot tell, the task runs: a revoke is a request. */
  async #takeUnlessRevoked(request: Request): Promise<void> {
    const { logger, dispatcher, revocations } = this.#deps;
    const { task, id } = request.received;
    const stops = this.#stops;
    const isRevoked = await revocations.ask(request.received).catch((error: unknown) => {
      logger.warn({ err: error, task, taskId: id }, `whether ${task}[${id}] is revoked cannot be read, so it runs: ${errorText(error)}`);
      return false;
    });
    if (isRevoked) return this.#endUnrun(request, REVOKED);
    if (stops !== this.#stops) {
      this.#deps.credit.freeSlot();
      return dispatcher.putBack([request]);
    }
    this.#takeKnown(request);
    dispatcher.pump();
  }

  /** It may run, now or when its time has come. */
  #takeKnown(request: Request): void {
    const { limits, dispatcher } = this.#deps;
    const { delivery, received } = request;
    const { eta } = received;
    if (eta !== undefined) {
      const now = this.#deps.brokerNow();
      if (eta.at > now) return this.#wait(request, eta.at, now);
    }
    if (delivery.losses > 0 && dispatcher.suspectsWaiting >= limits.suspectsMax && this.#deps.broker.delayed) {
      return this.park(request, this.#deps.brokerNow() + SUSPECT_PARKED_MS * (0.5 + this.#deps.random()));
    }
    if (this.#deps.gate?.ask(request) !== true) this.#ready(request);
  }

  #endUnrun(request: Request, outcome: Outcome): void {
    this.#deps.gate?.giveUp(request);
    this.#deps.dispatcher.endUnrun(request, outcome);
  }

  /** No limit for all workers is in their way. */
  passed(requests: readonly Request[]): void {
    for (const request of requests) this.#ready(request);
    this.#deps.dispatcher.pump();
  }

  #ready(request: Request): void {
    const { received } = request;
    this.#tell(request);
    if (received.info.redelivered && this.#deps.hasSucceeded) void this.#admitUnlessDone(request, this.#deps.hasSucceeded);
    else this.#admit(request);
  }

  #tell(request: Request): void {
    if (request.isTold) return;
    request.isTold = true;
    this.#deps.observers.received(request);
  }

  /** `workerDeduplicateSuccessfulTasks`. When the backend cannot tell, the task runs: twice is better than never. */
  async #admitUnlessDone(request: Request, hasSucceeded: (taskId: string) => Promise<boolean>): Promise<void> {
    const { logger, dispatcher } = this.#deps;
    const { task, id } = request.received;
    const stops = this.#stops;
    const isDone = await hasSucceeded(id).catch((error: unknown) => {
      logger.warn(
        { err: error, task, taskId: id },
        `whether ${task}[${id}] was done before cannot be read, so it runs: ${errorText(error)}`,
      );
      return false;
    });
    if (isDone) return dispatcher.endUnrun(request, { kind: "ignored" });
    if (stops !== this.#stops) {
      this.#deps.credit.freeSlot();
      return dispatcher.putBack([request]);
    }
    this.#admit(request);
    dispatcher.pump();
  }

  /** Gives back what waits here of queues that are paused now. */
  giveBackPaused(): void {
    const { credit, dispatcher, pauses } = this.#deps;
    const isPaused = ({ delivery }: Request): boolean => pauses.has(delivery.queue);
    const waiting = this.#waiting.takeWhere(isPaused);
    for (const _ of waiting) credit.wantLoan();
    const { gate } = this.#deps;
    dispatcher.putBack([...(gate?.takeWhere(isPaused) ?? []), ...this.#throttle.takeWhere(isPaused), ...waiting]);
    dispatcher.putBackWaiting(isPaused);
  }

  /** Its arguments are decoded now: what is parked or waits for long is not kept in memory twice. */
  #admit(request: Request): void {
    const { pauses } = this.#deps;
    if (pauses.isAny && pauses.has(request.delivery.queue)) {
      this.#deps.credit.freeSlot();
      return this.#deps.dispatcher.putBack([request]);
    }
    try {
      request.received.body();
    } catch (error) {
      this.#deps.gate?.left(request);
      return this.#unrunnable.badArguments(request, error);
    }
    const { aggregate } = request.options;
    if (aggregate !== undefined && this.#deps.folding && !isAggregate(request)) return this.#fold(request, aggregate, this.#deps.folding);
    if (this.#throttle.pass(request)) this.#deps.dispatcher.add(request);
  }

  #fold(request: Request, rules: ResolvedAggregate, folding: Folding): void {
    try {
      folding.add(request, rules);
    } catch (error) {
      this.#endUnrun(request, { kind: "failed", error }); // the user's key function threw
    }
  }

  /** They waited for something that needs no slot. */
  #start(requests: readonly Request[]): void {
    const { credit, dispatcher } = this.#deps;
    for (const request of requests) {
      credit.wantSlot();
      dispatcher.add(request);
    }
    dispatcher.pump();
  }

  /** Starts of a task per second in this worker from now on; 0 for no limit. */
  setRate(task: string, perSecond: number): void {
    this.#throttle.change(task, perSecond);
  }

  /** Ends what waits here and is revoked. Returns it. */
  discardWaiting(isRevoked: (request: Request) => boolean): ReceivedTask[] {
    const { credit, dispatcher } = this.#deps;
    const waiting = this.#waiting.takeWhere(isRevoked);
    for (const _ of waiting) credit.wantLoan();
    const requests = [...waiting, ...(this.#deps.gate?.takeWhere(isRevoked) ?? []), ...this.#throttle.takeWhere(isRevoked)];
    for (const request of requests) {
      credit.wantSlot();
      dispatcher.endUnrun(request, REVOKED);
    }
    return requests.map(({ received }) => received);
  }

  // --- due later ---------------------------------------------------------------------------------------------------

  #wait(request: Request, dueAt: number, now: number): void {
    const { limits, credit, broker } = this.#deps;
    const isFar = dueAt - now > limits.parkThresholdMs || this.#waiting.size >= limits.etaMax;
    if (isFar && broker.delayed) return this.park(request, dueAt);
    this.#tell(request);
    credit.freeSlot();
    credit.freeLoan(); // it holds a loan, but one that nothing was done with: a crash repeats nothing
    this.#waiting.add(dueAt, request);
  }

  /** Gives it back to the broker until then. It has a loan and counts as busy. */
  park(request: Request, dueAt: number): void {
    const { settler, credit, observers, gate } = this.#deps;
    credit.freeSlot();
    gate?.left(request);
    const settled = (answer: string): void => {
      credit.freeLoan();
      if (answer !== "settled") return;
      this.#deps.noteParked(dueAt);
      observers.setAside(request, "parked");
    };
    settler.add({ delivery: request.delivery, end: { kind: "park", dueAt }, results: NOTHING, publish: NOTHING }, { settled });
  }

  #resume(due: readonly Request[]): void {
    const { credit, dispatcher, gate } = this.#deps;
    for (const request of due) {
      credit.wantSlot();
      credit.wantLoan();
      if (gate?.ask(request) !== true) this.#ready(request);
    }
    gate?.flush();
    dispatcher.pump();
  }
}
