/**
 * What becomes of a delivery that is not to run here: nothing is dropped, and nothing goes round for ever. Its task is unknown or badly
 * defined: put aside for a while. It cannot be read, or has killed too many workers: a dead letter.
 */
import type { ResolvedTaskOptions } from "../app/task-options.ts";
import type { AnyTask } from "../app/task.ts";
import type { Broker, Delivery, LoanEnd, Settlement } from "../brokers/broker.ts";
import { NotRegistered, WorkerLostError } from "../protocol/celery-errors.ts";
import type { ReceivedTask } from "../protocol/task-message.ts";
import type { Clock } from "../shared/clock.ts";
import { errorText } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import type { LoanCredit } from "./credit.ts";
import { deadLetterRecord } from "./dead-letter-plan.ts";
import type { SettlementRules } from "./ended-run.ts";
import { DueHeap } from "./eta.ts";
import type { TaskObserver } from "./observer.ts";
import { planRefusals, type RefusedTask, settleInOrder } from "./refused-calls.ts";
import type { Request } from "./request.ts";
import type { SettlementOwner, Settler } from "./settle.ts";
import { planUnknownTask } from "./unknown-task.ts";

export interface UnrunnableDeps {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly credit: LoanCredit;
  readonly settler: Settler;
  readonly observers: Required<TaskObserver>;
  readonly rules: SettlementRules;
  readonly limits: UnrunnableLimits;
  /** For a log line about a task that is not here. */
  suggestTask(name: string): string;
  /** ms since 1970, by the broker's clock. */
  readonly brokerNow: () => number;
  /** A message was parked until then: the guard returns it. */
  noteParked(dueAt: number): void;
}

export interface UnrunnableLimits {
  /** Content types that are read. */
  readonly accept: ReadonlySet<string>;
  readonly unknownTaskTtlMs: number;
}

const KEPT_FOR_LATER_MS = 60_000;

const ACK: LoanEnd = { kind: "ack" };
const NOTHING: readonly never[] = [];

export class Unrunnable {
  readonly #deps: UnrunnableDeps;
  /** Only where the broker cannot park: what is to be settled later, when it is due. */
  readonly #held: DueHeap<Settlement>;
  readonly #loan: SettlementOwner;

  constructor(deps: UnrunnableDeps) {
    this.#deps = deps;
    const { clock, credit, settler, brokerNow } = deps;
    this.#held = new DueHeap(clock, brokerNow, (due) => {
      for (const settlement of due) settler.add(settlement, this.#loan);
    });
    this.#loan = { settled: () => credit.freeLoan() };
  }

  /** Gives back what is held here. */
  stop(): void {
    for (const settlement of this.#held.clear())
      this.#deps.settler.add({ ...settlement, end: { kind: "requeue", to: "back" }, publish: NOTHING }, this.#loan);
  }

  /** Its task is not here: put aside for a worker that knows it, for so long; then a dead letter. */
  unknown(delivery: Delivery, received: ReceivedTask): void {
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

  /** Its headers cannot be read: a dead letter of nobody knows what. */
  undecodable(delivery: Delivery, error: unknown): void {
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
  badArguments(request: Request, error: unknown): void {
    const { delivery, received } = request;
    this.#refuse({ reason: "undecodable", error, delivery, received });
  }

  /** The sweep gave it back after so many losses, so that who knows its task ends it: result, dead letter and dead-letter queue in one step. */
  poison(delivery: Delivery, received: ReceivedTask, task: AnyTask | undefined): void {
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
  badlyDefined(delivery: Delivery, received: ReceivedTask, error: unknown): void {
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
