/**
 * The parts of a running worker, put together: guard and consumer bring messages in, intake and dispatcher bring them
 * to the pool, the settler tells the broker. `worker.ts` says when to begin and how to end.
 */
import type { Lovage } from "../app/app.ts";
import type { BrokerSpec } from "../app/connect.ts";
import { readDeadLetterPolicy } from "../app/dead-letter-policy.ts";
import { stampMarksOf, taskMark } from "../app/revocation-marks.ts";
import type { PoolName } from "../app/task-options.ts";
import type { Broker } from "../brokers/broker.ts";
import { contentTypesFor } from "../protocol/serializers.ts";
import type { ReceivedTask } from "../protocol/task-message.ts";
import type { ResultBackend } from "../results/result-backend.ts";
import { sleep } from "../shared/clock.ts";
import { errorText } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import { BatchKeeper } from "./batch-keeper.ts";
import { BatchReports } from "./batch-reports.ts";
import { Chords } from "./chords.ts";
import { Consumer } from "./consumer.ts";
import { type CreditLimits, LoanCredit } from "./credit.ts";
import { Dispatcher } from "./dispatcher.ts";
import { type Guard, makeGuard } from "./guard.ts";
import type { Health } from "./health/health.ts";
import { Intake } from "./intake.ts";
import type { LimitGate } from "./limits/gate.ts";
import { makeGate } from "./limits/make-gate.ts";
import { Lanes } from "./lanes.ts";
import { Observers, type TaskObserver } from "./observer.ts";
import type { Pool } from "./pool/pool.ts";
import { KnownPauses } from "./pauses.ts";
import { KnownRevocations } from "./revocations.ts";
import type { Request } from "./request.ts";
import { Settler } from "./settle.ts";
import type { SettlementRules } from "./ended-run.ts";
import { StateWriter } from "./state-writer.ts";
import type { WorkflowRules } from "./workflow.ts";
import type { Termination } from "./termination.ts";

export interface EngineSetup {
  readonly app: Lovage;
  /** `celery@host`. */
  readonly worker: string;
  /** Under which loans and lease are kept; unique among all workers that ever were. */
  readonly owner: string;
  readonly broker: Broker;
  readonly backend: ResultBackend | undefined;
  /** What the guard thread opens its own broker from; undefined keeps the guard on this thread. */
  readonly guardSpec: BrokerSpec | undefined;
  readonly queues: readonly string[];
  /** Those of them that are taken by turns among keys. */
  readonly fairQueues: ReadonlySet<string>;
  /** undefined: nobody asks for this worker's health. */
  readonly health: Health | undefined;
  /** The worker's own pool, started. */
  readonly pool: Pool;
  /** Another one that a task asks for, not started. */
  makePool(kind: PoolName): Pool;
  readonly logger: Logger;
  readonly observers: readonly TaskObserver[];
  /** It hears of revocations by the control channel. */
  readonly isListening: boolean;
}

/** Near ETAs that wait in memory, unless `workerEtaTaskLimit` says otherwise. */
const ETA_MAX = 1000;
/** Loans per slot, while settlements are on the way. */
const LOANS_PER_SLOT = 2;
/** Giving the lease back must not hold up an exit when the broker is away: it runs out by itself. */
const RELEASE_DEADLINE_MS = 500;
const VISIBILITY_TIMEOUT_MS = 3_600_000;
/** Revocations come by the control channel, and a channel that broke tells so; this is in case it did not. Without it, it is all there is. */
/** Until a message is tried again whose limits nobody could tell. */
const POSTPONED_MS = 5000;
const REVOCATIONS_REFRESH_MS = 300_000;
const REVOCATIONS_REFRESH_UNHEARD_MS = 5000;

export class Engine {
  readonly revocations: KnownRevocations;
  readonly pauses: KnownPauses;
  readonly #setup: EngineSetup;
  readonly #credit: LoanCredit;
  readonly #lanes: Lanes;
  readonly #settler: Settler;
  readonly #chords: Chords | undefined;
  readonly #batchKeeper: BatchKeeper | undefined;
  readonly #dispatcher: Dispatcher;
  readonly #intake: Intake;
  /** undefined: the broker has no limits for all workers. */
  readonly #gate: LimitGate | undefined;
  readonly #guard: Guard;
  readonly #consumer: Consumer;
  readonly #stopTaking = new AbortController();
  readonly #statesEnd = new AbortController();
  #consuming: Promise<void> = Promise.resolve();
  #onFirstLease: (() => void) | undefined;
  #onFailure: ((error: unknown) => void) | undefined;
  #lossesSeen = 0;

  constructor(setup: EngineSetup) {
    this.#setup = setup;
    const { app, broker, backend, pool, logger, worker, owner } = setup;
    const { settings, clock, random } = app;
    const deadLetter = settings.taskDeadLetter ?? readDeadLetterPolicy(undefined);
    const workflows: WorkflowRules = {
      resultSerializer: settings.resultSerializer,
      resultExpiresMs: settings.resultExpiresMs || undefined,
      encodeCalls: (calls, parent) => app.calls.planned(calls, parent).map(({ outgoing }) => outgoing),
    };
    const rules: SettlementRules = {
      workflows,
      worker,
      keepsResults: backend !== undefined,
      keepsDeadLetters: broker.deadLetters !== undefined,
      resultSerializer: settings.resultSerializer,
      resultExtended: settings.resultExtended,
      resultExpiresMs: settings.resultExpiresMs || undefined,
      codec: { serializer: settings.taskSerializer },
      maxDeliveries: settings.maxDeliveries,
      deadLetterOf: (queue) => settings.queueDeadLetter?.get(queue) ?? deadLetter,
    };
    const observers = new Observers(setup.health ? [...setup.observers, setup.health.meter] : setup.observers, logger);
    const brokerNow = (): number => this.brokerNow();
    this.#lanes = new Lanes(pool, (kind) => setup.makePool(kind), {
      slotsChanged: () => this.slotsChanged(),
      failed: (error) => this.#onFailure?.(error),
    });
    this.#credit = new LoanCredit(this.#creditLimits());
    const accept = contentTypesFor(settings.resultAcceptContent ?? settings.acceptContent);
    const home = setup.queues[0] ?? settings.taskDefaultQueue;
    const chords = backend && new Chords({ broker, backend, clock, random, logger, rules: workflows, accept, home, brokerNow });
    this.#chords = chords;
    this.#batchKeeper =
      backend?.batches &&
      new BatchKeeper({
        broker,
        backend,
        batches: backend.batches,
        queues: setup.queues,
        resultSerializer: settings.resultSerializer,
        resultExpiresMs: settings.resultExpiresMs || undefined,
        accept,
        encodeCalls: (calls) => app.calls.planned(calls, undefined).map(({ outgoing }) => outgoing),
        brokerNow,
        clock,
        random,
        logger,
      });
    const batches = backend?.batches && new BatchReports(backend.batches, () => this.#batchKeeper?.kick());
    this.#settler = new Settler({ broker, backend, chords, batches, clock, random, logger });
    this.revocations = new KnownRevocations({
      store: broker.revocations,
      clock,
      random,
      logger,
      max: settings.workerRevokesMax,
      expiresMs: settings.workerRevokeExpiresMs,
      refreshMs: setup.isListening ? REVOCATIONS_REFRESH_MS : REVOCATIONS_REFRESH_UNHEARD_MS,
      onRevoked: (marks) => this.#onRevoked(marks),
    });
    this.pauses = new KnownPauses({ store: broker.pauses, queues: setup.queues, clock, random, logger, brokerNow });
    this.#guard = makeGuard({
      broker,
      spec: setup.guardSpec,
      options: {
        worker: owner,
        leaseMs: settings.leaseTimeMs,
        maxDeliveries: settings.maxDeliveries,
        visibilityTimeoutMs: visibilityTimeoutMs(app),
        queues: setup.queues,
      },
      queues: setup.queues,
      thread: setup.health?.thread,
      events: { renewed: () => this.#onRenewed(), lost: () => this.#onLeaseLost() },
      deps: { clock, random, logger },
    });
    this.#gate = makeGate({
      app,
      broker,
      owner,
      queues: setup.queues,
      paused: this.pauses,
      logger,
      credit: this.#credit,
      observers,
      isListening: setup.isListening,
      pass: (requests) => this.#intake.passed(requests),
      postpone: (request) => this.#intake.park(request, this.brokerNow() + POSTPONED_MS),
      putBack: (requests) => this.#dispatcher.putBack(requests),
    });
    this.#dispatcher = new Dispatcher({
      app,
      hostname: worker,
      clock,
      random,
      logger,
      lanes: this.#lanes,
      credit: this.#credit,
      settler: this.#settler,
      states: backend && new StateWriter(backend, logger, this.#statesEnd.signal),
      rules,
      checkpoints: broker.checkpoints,
      observers,
      park: broker.delayed && ((request, dueAt) => this.#intake.park(request, dueAt)),
      left: this.#gate && ((request) => this.#gate?.left(request)),
      isRevoked: ({ received }) => !this.revocations.isEmpty && this.revocations.has(received),
      mayStart: broker.leases ? (monotonic) => this.#isLeaseSure(monotonic) : () => true,
      brokerNow,
    });
    this.#intake = new Intake({
      broker,
      clock,
      random,
      logger,
      credit: this.#credit,
      settler: this.#settler,
      dispatcher: this.#dispatcher,
      gate: this.#gate,
      observers,
      rules,
      revocations: this.revocations,
      pauses: this.pauses,
      limits: {
        accept: contentTypesFor(settings.acceptContent),
        unknownTaskTtlMs: settings.unknownTaskTtlMs,
        parkThresholdMs: settings.parkThresholdMs,
        etaMax: settings.workerEtaTaskLimit ?? ETA_MAX,
        suspectsMax: pool.slots,
        ignoresRateLimits: settings.workerDisableRateLimits,
        throttledMax: pool.slots,
      },
      hasSucceeded: backend && settings.workerDeduplicateSuccessfulTasks ? (taskId) => hasSucceeded(app, taskId) : undefined,
      findTask: (name) => app.tasks.get(name),
      suggestTask: (name) => app.tasks.suggestion(name),
      brokerNow,
      noteParked: (dueAt) => this.#guard.noteParked(dueAt),
    });
    this.#consumer = new Consumer({
      broker,
      queues: setup.queues,
      fairQueues: setup.fairQueues,
      owner,
      credit: this.#credit,
      paused: this.pauses,
      clock,
      random,
      logger,
      maxRestarts: settings.brokerConnectionRetry ? settings.brokerConnectionMaxRetries : 0,
      onBatch: (batch) => this.#intake.take(batch),
      onStaleBatch: (batch) => this.#intake.giveBack(batch),
      onTrouble: (text) => setup.health?.note("broker", text),
    });
    this.pauses.onChange(() => this.#onPauses());
  }

  /** Something of them changed: told also of what did before `begin` had resolved. */
  #onPauses(): void {
    this.#intake.giveBackPaused();
    this.#setup.health?.notePauses(this.pauses.list);
  }

  get isConsuming(): boolean {
    return this.#consumer.isConsuming;
  }
  /** Of all pools that are up. */
  get slots(): number {
    return this.#lanes.slots;
  }
  get running(): number {
    return this.#dispatcher.running;
  }
  get waiting(): number {
    return this.#dispatcher.waiting;
  }
  get scheduled(): number {
    return this.#intake.waiting;
  }
  get onLoan(): number {
    return this.#credit.held;
  }
  get processed(): number {
    return this.#dispatcher.processed;
  }
  /** Messages on loan at most. */
  get prefetch(): number {
    return this.#creditLimits().held;
  }
  /** What has been seen of the broker. */
  get link(): Pick<Consumer, "answeredAt" | "connects"> {
    return this.#consumer;
  }

  /** Resolves when it consumes, or as soon as `signal` aborts. `onFailure`: consuming was given up. */
  async begin(signal: AbortSignal, onFailure: (error: unknown) => void): Promise<void> {
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    const leased = new Promise<void>((resolve) => (this.#onFirstLease = resolve));
    this.#onFailure = onFailure;
    this.#guard.start();
    if (this.#setup.broker.leases) await Promise.race([leased, aborted]); // what is taken without a lease would be swept
    if (signal.aborted) return;
    // Before anything is taken that was revoked, or from a queue that was paused, while no worker was there.
    await Promise.race([Promise.all([this.revocations.load(), this.pauses.load()]), aborted]);
    if (signal.aborted) return;
    await Promise.race([this.#gate?.begin(), aborted]);
    if (signal.aborted) return;
    this.#batchKeeper?.start();
    this.#consuming = this.#consumer.run(this.#stopTaking.signal).catch(onFailure);
    await Promise.race([this.#consumer.whenConsuming(), aborted]);
    void this.#chords?.watch();
  }

  /** ms since 1970, by the broker's clock. */
  brokerNow(): number {
    return this.#setup.app.clock.now() + this.#guard.lease.clockOffsetMs;
  }

  /** Children came or went, or a pool was resized: what is taken follows. */
  slotsChanged(): void {
    this.#credit.resize(this.#creditLimits());
    this.#dispatcher.pump();
  }

  #creditLimits(): CreditLimits {
    const { settings } = this.#setup.app;
    const { slots } = this.#lanes;
    const prefetch = settings.workerDisablePrefetch ? 1 : settings.workerPrefetchMultiplier || LOANS_PER_SLOT;
    const most = Math.floor(slots * prefetch);
    return { busy: Math.max(slots, most), held: Math.max(slots * LOANS_PER_SLOT, most) };
  }

  /** Leaves no child behind. Rejects with what a hook of the children's end threw. */
  stopPools(): Promise<void> {
    return this.#lanes.stop();
  }

  /** Ends what runs under these marks, whether or not it heeds its signal. Returns what was there, running or waiting. */
  terminate(marks: ReadonlySet<string>, how: Termination): readonly ReceivedTask[] {
    const isMeant = (request: Request): boolean => isMarked(request, marks);
    const running = this.#dispatcher.terminateRunning(isMeant, how);
    if (how.force === "soft") return running;
    return [...running, ...this.#dispatcher.discardWaiting(isMeant), ...this.#intake.discardWaiting(isMeant)];
  }

  /** Starts of a task per second in this worker; 0 for no limit. False for a task that is not here. */
  setRate(task: string, perSecond: number): boolean {
    if (this.#setup.app.tasks.get(task) === undefined) return false;
    this.#intake.setRate(task, perSecond);
    return true;
  }

  /** Limits were set by hand: which tasks are under one is read again. */
  limitsChanged(): void {
    this.#gate?.refresh();
  }

  #onRevoked(marks: ReadonlySet<string>): void {
    const isMeant = (request: Request): boolean => isMarked(request, marks);
    this.#dispatcher.revokeRunning(isMeant);
    this.#dispatcher.discardWaiting(isMeant);
    this.#intake.discardWaiting(isMeant);
  }

  /** Takes nothing until `resumeTaking`, and gives back what has not started. Resolves when nothing arrives any more. */
  async pauseTaking(): Promise<void> {
    this.#dispatcher.interruptIterations();
    const paused = this.#consumer.pause();
    this.#giveBackWaiting();
    await paused;
    if (!this.#stopTaking.signal.aborted) this.#giveBackWaiting(); // a batch that was on its way
  }

  #giveBackWaiting(): void {
    this.#intake.stop();
    this.#dispatcher.putBackWaiting();
  }

  /** Resolves when it consumes again, or is paused again. */
  resumeTaking(): Promise<void> {
    this.#consumer.resume();
    return this.#consumer.whenConsuming();
  }

  /** Takes no more messages, and gives back those that have not started. */
  stopTaking(): void {
    this.#credit.close();
    this.#stopTaking.abort(new Error("the worker stops"));
    this.#dispatcher.interruptIterations();
    this.#giveBack();
    void this.#consuming.then(() => this.#giveBack()); // a batch that was on its way
  }

  #giveBack(): void {
    this.#intake.stop();
    this.#dispatcher.stopStarting();
  }

  whenIdle(): Promise<void> {
    return this.#dispatcher.whenIdle();
  }

  abortRunning(): void {
    this.#dispatcher.abortRunning();
  }

  /** Gives up what runs. Returns how many. */
  interruptRunning(): number {
    return this.#dispatcher.interruptRunning();
  }

  /** Waits at most `deadlineMs` until all is settled, then ends the lease. */
  async end(deadlineMs: number): Promise<void> {
    const { broker, owner, app } = this.#setup;
    const { clock } = app;
    const settled = this.#consuming.then(() => this.#settler.whenIdle()).then(() => this.#batchKeeper?.whenIdle());
    await within(clock, deadlineMs, settled);
    this.#batchKeeper?.stop();
    await within(clock, RELEASE_DEADLINE_MS, this.#gate?.stop() ?? Promise.resolve());
    this.#gate?.abandon();
    this.revocations.stop();
    this.pauses.stop();
    this.#settler.abandon();
    this.#statesEnd.abort(new Error("the worker has stopped"));
    await this.#guard.stop();
    const late = new AbortController();
    await within(clock, RELEASE_DEADLINE_MS, this.#release(broker, owner, late.signal));
    late.abort();
  }

  async #release(broker: Broker, owner: string, late: AbortSignal): Promise<void> {
    const { logger, queues } = this.#setup;
    try {
      const returned = (await broker.leases?.release(owner)) ?? 0;
      if (returned > 0) logger.info({ returned }, `gave ${returned} messages back to their queues`);
      if (!broker.delayed || !broker.leases || (await broker.leases.list()).length > 0) return;
      const parked = (await broker.depth(queues)).reduce((sum, queue) => sum + queue.parked, 0);
      if (parked > 0) logger.warn({ parked }, `${parked} messages stay parked until their time, and no worker is left to return them then`);
    } catch (error) {
      if (!late.aborted) logger.warn({ err: error }, `the lease could not be given back, it runs out by itself: ${errorText(error)}`);
    }
  }

  // --- the lease ---------------------------------------------------------------------------------------------------

  #isLeaseSure(monotonic: number): boolean {
    const { lease } = this.#guard;
    // The guard writes before its message arrives here: what was taken under the lost lease must not start meanwhile.
    if (lease.losses !== this.#lossesSeen) queueMicrotask(() => this.#onLeaseLost());
    return lease.losses === this.#lossesSeen && lease.isSure(monotonic);
  }

  #onRenewed(): void {
    this.#onFirstLease?.();
    this.#onFirstLease = undefined;
    this.#dispatcher.pump(); // bodies that were not started while the lease was unsure
  }

  #onLeaseLost(): void {
    const { losses } = this.#guard.lease;
    if (losses === this.#lossesSeen) return;
    this.#lossesSeen = losses;
    this.#setup.logger.error(
      { worker: this.#setup.worker },
      "this worker's lease ran out and its messages were given to others: what runs here is told to stop",
    );
    this.#consumer.startOver(); // an answer that is still on its way may bring loans that were taken away since
    this.#intake.stop();
    this.#dispatcher.leaseLost();
  }
}

function isMarked({ received }: Request, marks: ReadonlySet<string>): boolean {
  return marks.has(taskMark(received.id)) || stampMarksOf(received).some((mark) => marks.has(mark));
}

async function hasSucceeded(app: Lovage, taskId: string): Promise<boolean> {
  return (await app.result(taskId).state()) === "SUCCESS";
}

/** kombu's: an hour unless the transport options say otherwise. */
function visibilityTimeoutMs({ settings }: Lovage): number {
  const seconds = settings.brokerTransportOptions["visibility_timeout"];
  return typeof seconds === "number" ? seconds * 1000 : VISIBILITY_TIMEOUT_MS;
}

/** Waits for `promise`, at most `deadlineMs`. */
export async function within(clock: Parameters<typeof sleep>[0], deadlineMs: number, promise: Promise<unknown>): Promise<void> {
  const enough = new AbortController();
  await Promise.race([promise, sleep(clock, deadlineMs, enough.signal).catch(() => undefined)]);
  enough.abort();
}
