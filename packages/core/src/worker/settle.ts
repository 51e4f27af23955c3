/**
 * Performs settlements, all that came up in one turn of the event loop together.
 *
 * Where the broker can store results in the same step as the ack, one call does it all. Elsewhere the order is: store
 * the results, publish what follows, end the loans. Each step is idempotent by task id and is tried until it succeeds,
 * so a crash in between redelivers and never loses. A settlement that the broker refuses holds up no other: it keeps its loan and is
 * tried again later, until what is in its way is gone.
 */
import type { Broker, Outgoing, SettleAnswer, Settlement, SettleOptions } from "../brokers/broker.ts";
import type { GroupPart } from "../results/groups.ts";
import type { ResultBackend, ResultWrite } from "../results/result-backend.ts";
import { type Clock, type Random, sleep } from "../shared/clock.ts";
import { errorText } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import type { BatchReport, BatchReports } from "./batch-reports.ts";
import type { Chords } from "./chords.ts";
import { FollowUps, isTransient } from "./follow-ups.ts";
import type { PlannedSettlement } from "./settlement.ts";
import type { UniqueStep } from "../brokers/uniques.ts";
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
  readonly parts?: readonly GroupPart[];
  readonly unique?: UniqueStep | undefined;
}

export interface SettlerDeps {
  readonly broker: Broker;
  readonly backend: ResultBackend | undefined;
  /** undefined without a result backend: there is nowhere to count then. */
  readonly chords?: Chords | undefined;
  readonly batches?: BatchReports | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Batches on the way at once. One alone would leave broker and worker waiting for each other. */
const BATCHES_UNDER_WAY = 4;
/** So many are worth a call of their own, before the turn of the event loop ends: while the broker works, so does the worker. */
const WORTH_A_CALL = 64;
/** What was refused is tried again after about so long. */
const REFUSED_MS = 5000;

interface Job {
  readonly settlement: Settlement | LoanlessSettlement;
  readonly owner: SettlementOwner;
}

export class Settler {
  readonly #deps: SettlerDeps;
  readonly #isOneStep: boolean;
  readonly #abort = new AbortController();
  readonly #followUps: FollowUps;
  #queue: Job[] = [];
  #isFlushPlanned = false;
  #underWay = 0;
  /** Settlements with something to be done before them. They hold up no other. */
  #preparing = 0;
  #idleWaiters: (() => void)[] = [];

  constructor(deps: SettlerDeps) {
    this.#deps = deps;
    this.#followUps = new FollowUps(deps, this.#abort.signal);
    this.#isOneStep = deps.backend !== undefined && deps.broker.settlesWith(deps.backend);
  }

  add(settlement: PlannedSettlement, owner: SettlementOwner): void {
    const { workflow, report } = settlement;
    if (report !== undefined) {
      void this.#report(settlement, report, owner);
      return;
    }
    if (workflow !== undefined) {
      void this.#advance(settlement, workflow, owner);
      return;
    }
    this.#queue.push({ settlement, owner });
    this.#planFlush();
  }

  /** Its batch is told before the loan ends. */
  async #report({ report: _, ...settlement }: PlannedSettlement, report: BatchReport, owner: SettlementOwner): Promise<void> {
    const { batches } = this.#deps;
    this.#preparing += 1;
    try {
      if (batches) await this.#followUps.persist("tell a batch of its member", () => batches.report(report, this.#abort.signal));
      this.add(settlement, owner);
    } catch {
      owner.settled("abandoned"); // the worker has stopped
    } finally {
      this.#prepared();
    }
  }

  #prepared(): void {
    this.#preparing -= 1;
    this.#wakeIdle();
  }

  /** The sizes of groups that begin must be known before their first member is there. */
  async #advance({ workflow: _, ...settlement }: PlannedSettlement, workflow: WorkflowStep, owner: SettlementOwner): Promise<void> {
    const { chords, logger } = this.#deps;
    this.#preparing += 1;
    try {
      await this.#followUps.persist("begin a group", async () => await chords?.begin(workflow));
      const publish = [...(settlement.publish ?? []), ...workflow.publish];
      const results = [...(settlement.results ?? []), ...workflow.results];
      this.add({ ...settlement, publish, results, ...(chords && { parts: workflow.parts }) }, owner);
    } catch (error) {
      if (!this.#abort.signal.aborted) logger.error({ err: error }, `a settlement failed: ${errorText(error)}`);
      owner.settled("abandoned");
    } finally {
      this.#prepared();
    }
  }

  /** What becomes of locks of unique tasks, where no loan ends with it. Until it is done; throws when the worker has stopped. */
  async step(steps: readonly UniqueStep[]): Promise<void> {
    const { uniques } = this.#deps.broker;
    if (uniques === undefined || steps.length === 0) return;
    await this.#followUps.persist("free locks of unique tasks", () => uniques.step(steps));
  }

  /** Resolves when all that was added is settled. */
  async whenIdle(): Promise<void> {
    if (!this.#isIdle) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
    await this.#deps.chords?.whenIdle();
  }

  /** Gives up what is not settled yet. Its owners hear "abandoned". */
  abandon(): void {
    this.#abort.abort(new Error("the worker has stopped"));
    this.#deps.chords?.abandon();
  }

  #planFlush(): void {
    if (this.#underWay >= BATCHES_UNDER_WAY) return;
    if (this.#queue.length >= WORTH_A_CALL) return void this.#flush();
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    setImmediate(() => {
      this.#isFlushPlanned = false;
      if (this.#queue.length > 0 && this.#underWay < BATCHES_UNDER_WAY) void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    const jobs = this.#queue;
    this.#queue = [];
    this.#underWay += 1;
    try {
      await this.#perform(jobs);
    } finally {
      this.#ended();
    }
  }

  #ended(): void {
    this.#underWay -= 1;
    if (this.#queue.length > 0) this.#planFlush();
    else this.#wakeIdle();
  }

  get #isIdle(): boolean {
    return this.#queue.length === 0 && this.#underWay === 0 && this.#preparing === 0;
  }

  #wakeIdle(): void {
    if (this.#isIdle) for (const resolve of this.#idleWaiters.splice(0)) resolve();
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
      await this.step(jobs.flatMap(({ settlement }) => settlement.unique ?? []));
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
    const { backend } = this.#deps;
    const { signal } = this.#abort;
    let settlements: readonly Settlement[] = jobs.map(({ settlement }) => settlement);
    let answers: readonly SettleAnswer[] | undefined;
    try {
      if (this.#isOneStep && backend) {
        const completed = (settlement: Settlement): void => this.#finish(settlement.parts ?? []);
        answers = await this.#settle(settlements, { backend, signal, completed });
      } else {
        if (settlements.some(isFollowed)) {
          await this.#storeAndPublish(jobs);
          settlements = settlements.map(({ delivery, end, unique }) => ({ delivery, end, unique }));
        }
        answers = await this.#settle(settlements, { signal });
      }
    } catch (error) {
      if (!signal.aborted) this.#deps.logger.error({ err: error, tasks: jobs.length }, `settlements failed: ${errorText(error)}`);
    }
    for (const [i, { owner }] of jobs.entries()) {
      const answer = answers?.[i] ?? "abandoned";
      if (answer === "refused") void this.#tryLater({ settlement: settlements[i] as Settlement, owner });
      else owner.settled(answer);
    }
  }

  async #settle(settlements: readonly Settlement[], options: SettleOptions): Promise<readonly SettleAnswer[]> {
    const { broker, logger } = this.#deps;
    return await this.#followUps.persist("settle tasks", async () => {
      try {
        return await broker.settle(settlements, options);
      } catch (error) {
        if (isTransient(error)) throw error;
        if (settlements.length > 1) return (await Promise.all(settlements.map(async (each) => await this.#settle([each], options)))).flat();
        logger.error({ err: error, queue: settlements[0]?.delivery.queue }, `the broker refuses a settlement: ${errorText(error)}`);
        return ["refused"];
      }
    });
  }

  /** It keeps its loan, and a stop does not wait for it. */
  async #tryLater(job: Job): Promise<void> {
    const { clock, random } = this.#deps;
    try {
      await sleep(clock, REFUSED_MS * (0.75 + random() / 2), this.#abort.signal);
    } catch {
      return job.owner.settled("abandoned");
    }
    this.#queue.push(job);
    this.#planFlush();
  }

  async #storeAndPublish(jobs: readonly Job[]): Promise<void> {
    const { backend } = this.#deps;
    const { signal } = this.#abort;
    await this.#followUps.store(jobs.flatMap(({ settlement }) => settlement.results ?? []));
    const parts = jobs.flatMap(({ settlement }) => settlement.parts ?? []);
    if (parts.length > 0 && backend) {
      const completed = await this.#followUps.persist("register parts of groups", () => backend.groups.addParts(parts, { signal }));
      this.#finish(parts.filter((_, i) => completed[i]));
    }
    await this.#followUps.publish(
      jobs.flatMap(({ settlement }) => {
        const home = settlement.delivery === undefined ? settlement.queue : settlement.delivery.queue;
        return (settlement.publish ?? []).map((outgoing) => ({ outgoing, home }));
      }),
    );
  }

  #finish(parts: readonly GroupPart[]): void {
    for (const { groupId } of parts) this.#deps.chords?.finish(groupId);
  }
}

/** Something is written before its loan ends. */
function isFollowed({ results, parts, publish }: Settlement): boolean {
  return Boolean(results?.length || parts?.length || publish?.length);
}
