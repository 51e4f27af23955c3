/**
 * A task's life in the log, in Celery's words and at Celery's levels (celery/app/trace.py, celery/worker/strategy.py,
 * celery/worker/request.py), so that tools that read Celery's log read ours. Costs a comparison where the level is off.
 */
import { matchesError } from "../app/retry-plan.ts";
import { toWireException } from "../protocol/exception.ts";
import { pythonRepr } from "../protocol/python-repr.ts";
import { delaySeconds } from "../shared/duration.ts";
import { errorText } from "../shared/errors.ts";
import type { Logger, LogLevel } from "../shared/log.ts";
import type { Refusal, TaskObserver } from "./observer.ts";
import type { Outcome } from "./outcome.ts";
import type { Request } from "./request.ts";

export class TaskLog implements TaskObserver {
  readonly #logger: Logger;
  /** Tasks that were warned about: once each for as long as the worker lives. */
  readonly #steady = new Set<string>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  received(request: Request): void {
    if (this.#isOn("info")) this.#logger.info(facts(request), `Task ${label(request)} received`);
  }

  refused({ error, delivery, received }: Refusal): void {
    const what = received === undefined ? `a message in ${delivery.queue}` : `Task ${received.task}[${received.id}]`;
    const more = received === undefined ? {} : { task: received.task, taskId: received.id };
    this.#logger.error(
      { ...more, queue: delivery.queue, err: error },
      `${what} cannot be run and is put with the dead letters: ${firstLine(error)}`,
    );
  }

  setAside(request: Request, why: "parked" | "putBack" | "limited"): void {
    if (why === "parked" && this.#isOn("info"))
      this.#logger.info(facts(request), `Task ${label(request)} is due later: the broker keeps it until then`);
    else if (why === "limited" && this.#isOn("debug")) this.#logger.debug(facts(request), `Task ${label(request)} waits for a limit`);
  }

  softLimitReached(request: Request, limitMs: number): void {
    this.#logger.warn(facts(request), `Soft time limit (${limitMs / 1000}s) exceeded for ${label(request)}`);
  }

  ended(request: Request, outcome: Outcome, runtimeMs: number | undefined): void {
    switch (outcome.kind) {
      case "succeeded":
        if (this.#isOn("info")) this.#logSuccess(request, outcome.value, runtimeMs ?? 0);
        return;
      case "failed":
        return this.#logFailure(request, outcome.error, outcome.isExpected);
      case "retry":
        if (outcome.plan.isSteady) this.#warnOfStorm(request, outcome.plan.delayMs);
        if (this.#isOn("info")) this.#logRetry(request, outcome.plan.delayMs, outcome.plan.error);
        return;
      case "snoozed":
        if (this.#isOn("info")) this.#logger.info(facts(request), `Task ${label(request)} snoozed for ${outcome.delayMs / 1000}s`);
        return;
      case "yielded":
        if (this.#isOn("info"))
          this.#logger.info(facts(request), `Task ${label(request)} interrupted between two steps: it goes on from there`);
        return;
      case "ignored":
        return this.#logger.info(facts(request), `Task ${label(request)} ignored`);
      case "replaced":
        return this.#logger.info(facts(request), `Task ${label(request)} replaced`);
      case "rejected":
        return this.#logger.warn(facts(request), `Task ${label(request)} rejected${outcome.requeue ? ", requeued" : ""}`);
      case "timedOut":
        return this.#logger.error(facts(request), `Hard time limit (${outcome.limitMs / 1000}s) exceeded for ${label(request)}`);
      case "revoked":
        return this.#logger.info(
          facts(request),
          outcome.how === "expired" ? `Discarding expired task: ${label(request)}` : `Discarding revoked task: ${label(request)}`,
        );
      case "childLost":
        return this.#logger.error({ ...facts(request), err: outcome.error }, `Task ${label(request)} lost the process that ran it`);
      case "interrupted":
        return this.#logger.warn(facts(request), `Task ${label(request)} interrupted: the worker stops, it runs again elsewhere`);
      case "leaseLost":
        return this.lost(request);
    }
  }

  lost(request: Request): void {
    this.#logger.warn(facts(request), `Task ${label(request)} was lent to another worker meanwhile: nothing of this run is kept`);
  }

  #logSuccess(request: Request, value: unknown, runtimeMs: number): void {
    const repr = pythonRepr(value, request.options.resultreprMaxsize);
    this.#logger.info({ ...facts(request), runtimeMs }, `Task ${label(request)} succeeded in ${seconds(runtimeMs)}s: ${repr}`);
  }

  #logRetry(request: Request, delayMs: number, error: unknown): void {
    const cause = error === undefined ? "" : `: ${exceptionRepr(error)}`;
    this.#logger.info(facts(request), `Task ${label(request)} retry: Retry in ${delaySeconds(delayMs)}s${cause}`);
  }

  #warnOfStorm({ received: { task } }: Request, delayMs: number): void {
    if (this.#steady.has(task)) return;
    this.#steady.add(task);
    this.#logger.warn(
      { task, delayMs },
      `${task} is retried after the same ${delayMs / 1000}s each time: runs that fail together come back together. Jitter spreads them`,
    );
  }

  #logFailure(request: Request, error: unknown, known: boolean | undefined): void {
    const isExpected = known ?? request.options.throws.some((matcher) => matchesError(error, matcher));
    if (isExpected) this.#logger.info(facts(request), `Task ${label(request)} raised expected: ${exceptionRepr(error)}`);
    else this.#logger.error({ ...facts(request), err: error }, `Task ${label(request)} raised unexpected: ${exceptionRepr(error)}`);
  }

  #isOn(level: LogLevel): boolean {
    return this.#logger.isLevelEnabled?.(level) ?? true;
  }
}

function firstLine(error: unknown): string {
  return errorText(error).split("\n", 1)[0] ?? "";
}

/** To the microsecond. */
function seconds(ms: number): number {
  return Math.round(ms * 1000) / 1_000_000;
}

/** `shop.add[4f0c...]`, with the name that monitors are to see. */
function label({ received }: Request): string {
  return `${received.shadow || received.task}[${received.id}]`;
}

function facts({ received }: Request): Readonly<Record<string, unknown>> {
  return { task: received.task, taskId: received.id };
}

/** As Python would write it: `ConnectionRefusedError('connect ECONNREFUSED 127.0.0.1:1')`. */
function exceptionRepr(error: unknown): string {
  const { type, args } = toWireException(error);
  return `${type}(${args.map((arg) => pythonRepr(arg)).join(", ")})`;
}
