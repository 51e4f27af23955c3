/**
 * What happens to a delivery before it may run: decoded, looked up, and sent on its way: to a slot, to wait for its
 * ETA, to be parked, refused or given back. One delivery that is broken never harms the others.
 */
import type { ResolvedAggregate } from "../app/aggregate-task.ts";
import type { ResolvedTaskOptions } from "../app/task-options.ts";
import type { AnyTask } from "../app/task.ts";
import type { Broker, Delivery, LoanEnd, Settlement } from "../brokers/broker.ts";
import type { PausedQueues } from "../brokers/queue-pauses.ts";
import { NotRegistered, WorkerLostError } from "../protocol/celery-errors.ts";
import { readTaskMessage, type ReceivedTask } from "../protocol/task-message.ts";
import type { Clock, Random } from "../shared/clock.ts";
import { errorText } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import { isAggregate } from "./aggregate-run.ts";
import type { Folding } from "./folding.ts";
import type { LoanCredit } from "./credit.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { DueHeap } from "./eta.ts";
import type { LimitGate } from "./limits/gate.ts";
import type { TaskObserver } from "./observer.ts";
import type { Outcome } from "./outcome.ts";
import { Request } from "./request.ts";
import type { KnownRevocations } from "./revocations.ts";
import type { SettlementOwner, Settler } from "./settle.ts";
import { deadLetterRecord } from "./dead-letter-plan.ts";
import type { SettlementRules } from "./ended-run.ts";
import { planRefusals, type RefusedTask, settleInOrder } from "./refused-calls.ts";
import { Throttle } from "./throttle.ts";
import { planUnknownTask } from "./unknown-task.ts";

export interface IntakeDeps {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly credit: LoanCredit;
  readonly settler: Settler;
  readonly dispatcher: Dispatcher;
  /** undefined: the broker has no limits for all workers. */
  readonly gate: LimitGate | undefined;
  /** undefined: the broker keeps no groups, so that calls are gathered in this worker alone. */
  readonly folding: Folding | undefined;
  readonly observers: Required<TaskObserver>;
  readonly rules: SettlementRules;
  readonly revocations: KnownRevocations;
  readonly pauses: PausedQueues;
  readonly limits: IntakeLimits;
  findTask(name: string): AnyTask | undefined;
  /** For a log line about a task that is not here. */
  suggestTask(name: string): string;
  /** undefined: redelivered messages run again, whatever became of their first run. */
  readonly hasSucceeded: ((taskId: string) => Promise<boolean>) | undefined;
  /** ms since 1970, by the broker's clock. */
  readonly brokerNow: () => number;
  /** A message was parked until then: the guard returns it. */
  noteParked(dueAt: number): void;
}

export interface IntakeLimits {
  /** Content types that are read. */
  readonly accept: ReadonlySet<string>;
  readonly unknownTaskTtlMs: number;
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
const KEPT_FOR_LATER_MS = 60_000;

const EXPIRED: Outcome = { kind: "revoked", how: "expired" };
const REVOKED: Outcome = { kind: "revoked", how: "revoked" };
const ACK: LoanEnd = { kind: "ack" };
const PUT_BACK: LoanEnd = { kind: "putBack" };
const NOTHING: readonly never[] = [];

export class Intake {
  readonly #deps: IntakeDeps;
  readonly #waiting: DueHeap<Request>;
  /** Ready, but its task's rate limit says not yet. */
  readonly #throttle: Throttle;
  /** Only where the broker cannot park: what is to be settled later, when it is due. */
  readonly #held: DueHeap<Settlement>;
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
    this.#held = new DueHeap(clock, deps.brokerNow, (due) => {
      for (const settlement of due) deps.settler.add(settlement, this.#loan);
    });
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
    const { credit, dispatcher, settler } = this.#deps;
    this.#stops += 1;
    const requests = this.#waiting.clear();
    for (const _ of requests) credit.wantLoan();
    dispatcher.putBack([...(this.#deps.gate?.clear() ?? []), ...this.#throttle.clear(), ...requests]);
    for (const settlement of this.#held.clear())
      settler.add({ ...settlement, end: { kind: "requeue", to: "back" }, publish: NOTHING }, this.#loan);
  }

  #takeOne(delivery: Delivery): void {
    const { limits, dispatcher } = this.#deps;
    let received: ReceivedTask;
    try {
      const { message, info } = delivery.open();
      received = readTaskMessage(message, info, { accept: limits.accept });
    } catch (error) {
      return this.#refuseUndecodable(delivery, error);
    }
    const task = this.#deps.findTask(received.task);
    if (delivery.losses >= this.#deps.rules.maxDeliveries) return this.#refusePoison(delivery, received, task);
    if (task === undefined) return this.#takeUnknown(delivery, received);
    let request: Request;
    try {
      request = new Request(delivery, received, task, dispatcher);
    } catch (error) {
      return this.#keepForLater(delivery, received, error);
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
      return this.#refuseBody(request, error);
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

  // --- not to be run -----------------------------------------------------------------------------------------------

  #takeUnknown(delivery: Delivery, received: ReceivedTask): void {
    const { logger, limits, broker, settler, credit } = this.#deps;
    const step = planUnknownTask(received.message, this.#deps.brokerNow(), limits.unknownTaskTtlMs);
    const facts = { task: received.task, taskId: received.id, queue: delivery.queue };
    if (step.kind === "deadLetter")
      return this.#refuse({ reason: "unknownTask", error: new NotRegistered(received.task), delivery, received });
    credit.freeSlot();
    if (step.message !== received.message)
      logger.error(
        facts,
        `Received unregistered task of type '${received.task}': no code here knows it. It is put aside until a worker that does takes it, or ${limits.unknownTaskTtlMs / 1000} s have passed.${this.#deps.suggestTask(received.task)}`,
      );
    if (broker.delayed) {
      const settled = (): void => {
        credit.freeLoan();
        this.#deps.noteParked(step.dueAt);
      };
      settler.add(
        { delivery, end: { kind: "park", dueAt: step.dueAt, message: step.message }, results: NOTHING, publish: NOTHING },
        { settled },
      );
      return;
    }
    this.#held.add(step.dueAt, {
      delivery,
      end: ACK,
      results: NOTHING,
      publish: [{ message: step.message, exchange: "", routingKey: delivery.queue }],
    });
  }

  #refuseUndecodable(delivery: Delivery, error: unknown): void {
    const { rules, settler, credit } = this.#deps;
    this.#deps.observers.refused({ reason: "undecodable", error, delivery, received: undefined });
    credit.freeSlot();
    const reason = errorText(error).split("\n", 1)[0] as string;
    const record = deadLetterRecord("undecodable", reason, delivery, undefined, rules.worker, this.#deps.brokerNow());
    settler.add(
      { delivery, end: rules.keepsDeadLetters ? { kind: "deadLetter", record } : ACK, results: NOTHING, publish: NOTHING },
      this.#loan,
    );
  }

  /** The headers could be read, the arguments cannot: whoever waits for the result is told. */
  #refuseBody(request: Request, error: unknown): void {
    const { delivery, received } = request;
    this.#deps.gate?.left(request);
    this.#refuse({ reason: "undecodable", error, delivery, received });
  }

  /** The sweep gave it back after so many losses, so that who knows its task ends it: result, dead letter and dead-letter queue in one step. */
  #refusePoison(delivery: Delivery, received: ReceivedTask, task: AnyTask | undefined): void {
    const error = new WorkerLostError(`the worker was lost ${delivery.losses} times while it held this message`);
    this.#refuse({ reason: "poison", error, delivery, received, options: optionsOf(task) });
  }

  #refuse(refusal: RefusedTask): void {
    const { rules, settler, credit, observers, limits } = this.#deps;
    observers.refused(refusal);
    credit.freeSlot();
    settleInOrder(settler, planRefusals(refusal, rules, limits.accept, this.#deps.brokerNow()), this.#loan);
  }

  /** Its task was defined with options that are not accepted, after the worker had started: kept until someone mends it. */
  #keepForLater(delivery: Delivery, received: ReceivedTask, error: unknown): void {
    const { logger, settler, credit, broker } = this.#deps;
    const { task, id } = received;
    logger.error({ err: error, task, taskId: id }, `the task ${task}[${id}] cannot be run as it is defined: ${errorText(error)}`);
    credit.freeSlot();
    const end: LoanEnd = broker.delayed
      ? { kind: "park", dueAt: this.#deps.brokerNow() + KEPT_FOR_LATER_MS }
      : { kind: "requeue", to: "back" };
    settler.add({ delivery, end, results: NOTHING, publish: NOTHING }, this.#loan);
  }
}

/** Undefined too for options that are not accepted: they are read when they are first asked for. */
function optionsOf(task: AnyTask | undefined): ResolvedTaskOptions | undefined {
  try {
    return task?.options;
  } catch {
    return undefined;
  }
}
