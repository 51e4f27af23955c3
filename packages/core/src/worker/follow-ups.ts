/**
 * Stores and publishes what follows from a task where that cannot be one step with the end of its loan: each step is
 * idempotent by task id and tried until it succeeds, or the worker has stopped.
 */
import type { Broker, Outgoing } from "../brokers/broker.ts";
import { PublishError } from "../brokers/errors.ts";
import type { ResultBackend, ResultWrite } from "../results/result-backend.ts";
import { type Clock, type Random, sleep } from "../shared/clock.ts";
import { errorText, LovageError } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import { backoffMs } from "./backoff.ts";

const RETRY = { baseMs: 100, maxMs: 5000 };

export interface FollowUp {
  readonly outgoing: Outgoing;
  /** The queue of the task that it follows from. */
  readonly home: string;
}

export interface FollowUpDeps {
  readonly broker: Broker;
  readonly backend: ResultBackend | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export class FollowUps {
  readonly #deps: FollowUpDeps;
  readonly #signal: AbortSignal;

  /** @param signal aborts when the worker has stopped */
  constructor(deps: FollowUpDeps, signal: AbortSignal) {
    this.#deps = deps;
    this.#signal = signal;
  }

  /** What the broker has said that it holds is not sent again; what no queue is bound for goes to the queue of the task that it follows from. */
  async publish(follows: readonly FollowUp[]): Promise<void> {
    if (follows.length === 0) return;
    let left = follows;
    await this.persist("publish follow-ups of tasks", async () => {
      try {
        await this.#deps.broker.publish(
          left.map(({ outgoing }) => outgoing),
          { signal: this.#signal },
        );
      } catch (error) {
        if (error instanceof PublishError) left = left.filter((_, i) => error.fates[i] !== "held").map((each) => atHome(each, error));
        throw error;
      }
    });
  }

  /** A result that the backend refuses for good (too large) must not hold up the others for ever: it is left out, and said. */
  async store(results: readonly ResultWrite[]): Promise<void> {
    const { backend, logger } = this.#deps;
    if (results.length === 0 || backend === undefined) return;
    await this.persist("store results", async () => {
      try {
        await backend.store(results, { signal: this.#signal });
      } catch (error) {
        if (isTransient(error)) throw error;
        if (results.length > 1) for (const each of results) await this.store([each]);
        else logger.error({ err: error, taskId: results[0]?.taskId }, `the result backend refuses a result: ${errorText(error)}`);
      }
    });
  }

  /** Until it succeeds, or the worker has stopped. */
  async persist<T>(what: string, step: () => Promise<T>): Promise<T> {
    const { clock, random, logger } = this.#deps;
    for (let failures = 0; ; failures++) {
      try {
        return await step();
      } catch (error) {
        this.#signal.throwIfAborted();
        if (failures === 0) logger.warn({ err: error }, `could not ${what}, trying again: ${errorText(error)}`);
        await sleep(clock, backoffMs(failures, RETRY, random), this.#signal);
      }
    }
  }
}

/** After a refusal that no waiting changes. */
function atHome({ outgoing, home }: FollowUp, { transient }: PublishError): FollowUp {
  return { outgoing: transient ? outgoing : { ...outgoing, exchange: "", routingKey: home }, home };
}

/** Errors that are not ours are taken for passing ones: a broken connection must never cost a result. */
export function isTransient(error: unknown): boolean {
  return !(error instanceof LovageError) || error.transient;
}
