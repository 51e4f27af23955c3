/**
 * The one place where a task's life in this worker is told: the log listens here, and whoever wants to count, trace or
 * publish events. Told, not asked: an observer must not throw, and changes nothing.
 *
 * A life: received -> (revoked or expired: ended) -> started -> ended. A task that waits for its ETA or a slot is
 * between received and started. One that is put back or parked just goes: `setAside`.
 */
import type { Delivery } from "../brokers/broker.ts";
import type { ReceivedTask } from "../protocol/task-message.ts";
import { errorText } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import type { Outcome } from "./outcome.ts";
import type { Request } from "./request.ts";

export interface TaskObserver {
  received?(request: Request): void;
  /** Its body begins. */
  started?(request: Request): void;
  softLimitReached?(request: Request, limitMs: number): void;
  /** Settled: its result is stored, its loan has ended. `runtimeMs` is undefined when it did not run. */
  ended?(request: Request, outcome: Outcome, runtimeMs: number | undefined): void;
  /** It ran, or was to run, but the loan was gone: another worker runs it, and nothing of this run was kept. */
  lost?(request: Request): void;
  /** It cannot be run here or anywhere: it goes to the dead letters. */
  refused?(refusal: Refusal): void;
  /** Back in the broker without having run. */
  setAside?(request: Request, why: "parked" | "putBack" | "limited"): void;
}

export interface Refusal {
  readonly reason: "undecodable" | "unknownTask" | "poison";
  readonly error: unknown;
  readonly delivery: Delivery;
  /** undefined when not even its headers could be read. */
  readonly received: ReceivedTask | undefined;
}

/** Tells each in turn. One that throws after all is logged and disturbs nobody. */
export class Observers implements TaskObserver {
  readonly #all: readonly TaskObserver[];
  readonly #logger: Logger;

  constructor(all: readonly TaskObserver[], logger: Logger) {
    this.#all = all;
    this.#logger = logger;
  }

  received(request: Request): void {
    this.#tell((one) => one.received?.(request));
  }

  started(request: Request): void {
    this.#tell((one) => one.started?.(request));
  }

  softLimitReached(request: Request, limitMs: number): void {
    this.#tell((one) => one.softLimitReached?.(request, limitMs));
  }

  ended(request: Request, outcome: Outcome, runtimeMs: number | undefined): void {
    this.#tell((one) => one.ended?.(request, outcome, runtimeMs));
  }

  lost(request: Request): void {
    this.#tell((one) => one.lost?.(request));
  }

  refused(refusal: Refusal): void {
    this.#tell((one) => one.refused?.(refusal));
  }

  setAside(request: Request, why: "parked" | "putBack" | "limited"): void {
    this.#tell((one) => one.setAside?.(request, why));
  }

  #tell(tell: (one: TaskObserver) => void): void {
    for (const one of this.#all) {
      try {
        tell(one);
      } catch (error) {
        this.#logger.error({ err: error }, `an observer of tasks failed: ${errorText(error)}`);
      }
    }
  }
}
