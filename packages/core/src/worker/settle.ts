/**
 * Performs settlements, all that came up in one turn of the event loop together.
 *
 * Where the broker can store results in the same step as the ack, one call does it all. Elsewhere the order is: store
 * the results, publish what follows, end the loans. Each step is idempotent by task id and is tried until it succeeds,
 * so a crash in between redelivers and never loses.
 */
import type { Broker, Outgoing, Settlement } from "../brokers/broker.ts";
import { PublishError } from "../brokers/errors.ts";
import type { ResultBackend, ResultWrite } from "../results/result-backend.ts";
import { type Clock, type Random, sleep } from "../shared/clock.ts";
import { errorText, LovageError } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import { backoffMs } from "./backoff.ts";
import type { Chords } from "./chords.ts";
import type { PlannedSettlement } from "./settlement.ts";
import type { WorkflowStep } from "./workflow.ts";

/** "abandoned": the worker stopped before an answer came; the loan, if it still is one, ends with the lease. */
export type SettlementAnswer = "settled" | "lost" | "abandoned";

/** Hears how its settlement ended. Must not throw. */
export interface SettlementOwner {
  settled(answer: SettlementAnswer): void;
}

/** Results and follow-ups of a task whose loan has ended before: early ack, fanout. Unfenced, idempotent by task id. */
export interface LoanlessSettlement {
  readonly delivery: undefined;
  /** That the task came from. */
  readonly queue: string;
  readonly results: readonly ResultWrite[];
  readonly publish: readonly Outgoing[];
}

export interface SettlerDeps {
  readonly broker: Broker;
  readonly backend: ResultBackend | undefined;
  /** undefined without a result backend: there is nowhere to count then. */
  readonly chords?: Chords | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Batches on the way at once. One alone would leave broker and worker waiting for each other. */
const BATCHES_UNDER_WAY = 4;
const RETRY = { baseMs: 100, maxMs: 5000 };

interface FollowUp {
  readonly outgoing: Outgoing;
  /** The queue of the task that it follows from. */
  readonly home: string;
}

interface Job {
  readonly settlement: Settlement | LoanlessSettlement;
  readonly owner: SettlementOwner;
}

export class Settler {
  readonly #deps: SettlerDeps;
  readonly #isOneStep: boolean;
  readonly #abort = new AbortController();
  #queue: Job[] = [];
  #isFlushPlanned = false;
  #underWay = 0;
  #idleWaiters: (() => void)[] = [];

  constructor(deps: SettlerDeps) {
    this.#deps = deps;
    this.#isOneStep = deps.backend !== undefined && deps.broker.settlesWith(deps.backend);
  }

  add(settlement: PlannedSettlement, owner: SettlementOwner): void {
    const { workflow } = settlement;
    if (workflow !== undefined) {
      void this.#advance(settlement, workflow, owner);
      return;
    }
    this.#queue.push({ settlement, owner });
    this.#planFlush();
  }

  /** Groups are counted before the loan ends; what follows from that is published together with its end. */
  async #advance({ workflow: _, ...settlement }: PlannedSettlement, workflow: WorkflowStep, owner: SettlementOwner): Promise<void> {
    const { chords, logger } = this.#deps;
    this.#underWay += 1;
    try {
      const { publish, results, ended } = chords
        ? await this.#persist("count the parts of a chord", () => chords.advance(workflow, this.#abort.signal))
        : { ...workflow, ended: [] };
      const whole = {
        ...settlement,
        publish: [...(settlement.publish ?? []), ...publish],
        results: [...(settlement.results ?? []), ...results],
      };
      const settled = (answer: SettlementAnswer): void => {
        if (answer === "settled" && ended.length > 0)
          chords?.end(ended).catch((error: unknown) => logger.debug({ err: error }, "the counts of a chord stay until they expire"));
        owner.settled(answer);
      };
      this.#queue.push({ settlement: whole, owner: { settled } });
    } catch (error) {
      if (!this.#abort.signal.aborted) logger.error({ err: error }, `a settlement failed: ${errorText(error)}`);
      owner.settled("abandoned");
    } finally {
      this.#underWay -= 1;
      if (this.#queue.length > 0) this.#planFlush();
      else if (this.#underWay === 0) for (const resolve of this.#idleWaiters.splice(0)) resolve();
    }
  }

  /** Resolves when all that was added is settled. */
  whenIdle(): Promise<void> {
    if (this.#queue.length === 0 && this.#underWay === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Gives up what is not settled yet. Its owners hear "abandoned". */
  abandon(): void {
    this.#abort.abort(new Error("the worker has stopped"));
  }

  #planFlush(): void {
    if (this.#isFlushPlanned || this.#underWay >= BATCHES_UNDER_WAY) return;
    this.#isFlushPlanned = true;
    setImmediate(() => {
      this.#isFlushPlanned = false;
      void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    const jobs = this.#queue;
    this.#queue = [];
    this.#underWay += 1;
    try {
      await this.#perform(jobs);
    } finally {
      this.#underWay -= 1;
      if (this.#queue.length > 0) this.#planFlush();
      else if (this.#underWay === 0) for (const resolve of this.#idleWaiters.splice(0)) resolve();
    }
  }

  async #perform(jobs: readonly Job[]): Promise<void> {
    const loaned: { settlement: Settlement; owner: SettlementOwner }[] = [];
    const loanless: Job[] = [];
    for (const job of jobs) {
      if (job.settlement.delivery === undefined) loanless.push(job);
      else loaned.push(job as { settlement: Settlement; owner: SettlementOwner });
    }
    await Promise.all([loanless.length > 0 && this.#performLoanless(loanless), loaned.length > 0 && this.#performLoaned(loaned)]);
  }

  async #performLoanless(jobs: readonly Job[]): Promise<void> {
    let answer: SettlementAnswer = "settled";
    try {
      await this.#storeAndPublish(jobs);
    } catch (error) {
      this.#deps.logger.error(
        { err: error, tasks: jobs.length },
        "results of tasks that were acknowledged early could not be stored before the worker stopped",
      );
      answer = "abandoned";
    }
    for (const { owner } of jobs) owner.settled(answer);
  }

  async #performLoaned(jobs: readonly { settlement: Settlement; owner: SettlementOwner }[]): Promise<void> {
    const { broker, backend } = this.#deps;
    const { signal } = this.#abort;
    let answers: readonly SettlementAnswer[] | undefined;
    try {
      if (this.#isOneStep && backend) {
        const settlements = jobs.map((job) => job.settlement);
        answers = await this.#persist("settle tasks", () => broker.settle(settlements, { backend, signal }));
      } else {
        await this.#storeAndPublish(jobs);
        const ends = jobs.map(({ settlement: { delivery, end } }) => ({ delivery, end }));
        answers = await this.#persist("settle tasks", () => broker.settle(ends, { signal }));
      }
    } catch (error) {
      if (!signal.aborted) this.#deps.logger.error({ err: error, tasks: jobs.length }, `settlements failed: ${errorText(error)}`);
    }
    for (let i = 0; i < jobs.length; i++) jobs[i]?.owner.settled(answers?.[i] ?? "abandoned");
  }

  async #storeAndPublish(jobs: readonly Job[]): Promise<void> {
    const { broker, backend } = this.#deps;
    const results = jobs.flatMap(({ settlement }) => settlement.results ?? []);
    const publish = jobs.flatMap(({ settlement }) => {
      const home = settlement.delivery === undefined ? settlement.queue : settlement.delivery.queue;
      return (settlement.publish ?? []).map((outgoing) => ({ outgoing, home }));
    });
    if (results.length > 0 && backend) await this.#storeAll(backend, results);
    if (publish.length > 0) await this.#publishAll(broker, publish);
  }

  /** What the broker has said that it holds is not sent again; what no queue is bound for goes to the queue of the task that it follows from. */
  async #publishAll(broker: Broker, follows: readonly FollowUp[]): Promise<void> {
    let left = follows;
    await this.#persist("publish follow-ups of tasks", async () => {
      try {
        await broker.publish(
          left.map(({ outgoing }) => outgoing),
          { signal: this.#abort.signal },
        );
      } catch (error) {
        if (error instanceof PublishError) left = left.filter((_, i) => error.fates[i] !== "held").map((each) => atHome(each, error));
        throw error;
      }
    });
  }

  /** A result that the backend refuses for good (too large) must not hold up the others for ever: it is left out, and said. */
  async #storeAll(backend: ResultBackend, results: readonly ResultWrite[]): Promise<void> {
    await this.#persist("store results", async () => {
      try {
        await backend.store(results, { signal: this.#abort.signal });
      } catch (error) {
        if (isTransient(error)) throw error;
        if (results.length > 1) for (const each of results) await this.#storeAll(backend, [each]);
        else
          this.#deps.logger.error({ err: error, taskId: results[0]?.taskId }, `the result backend refuses a result: ${errorText(error)}`);
      }
    });
  }

  /** Until it succeeds, or the worker has stopped. */
  async #persist<T>(what: string, step: () => Promise<T>): Promise<T> {
    const { clock, random, logger } = this.#deps;
    for (let failures = 0; ; failures++) {
      try {
        return await step();
      } catch (error) {
        this.#abort.signal.throwIfAborted();
        if (failures === 0) logger.warn({ err: error }, `could not ${what}, trying again: ${errorText(error)}`);
        await sleep(clock, backoffMs(failures, RETRY, random), this.#abort.signal);
      }
    }
  }
}

/** After a refusal that no waiting changes. */
function atHome({ outgoing, home }: FollowUp, { transient }: PublishError): FollowUp {
  return { outgoing: transient ? outgoing : { ...outgoing, exchange: "", routingKey: home }, home };
}

/** Errors that are not ours are taken for passing ones: a broken connection must never cost a result. */
function isTransient(error: unknown): boolean {
  return !(error instanceof LovageError) || error.transient;
}
