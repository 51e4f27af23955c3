/**
 * The parts of a running worker, put together: the guard keeps its lease, its capsules bring messages in and run them, the settler
 * tells the broker. `worker.ts` says when to begin and how to end.
 */
import type { Lovage } from "../app/app.ts";
import type { BrokerSpec } from "../app/connect.ts";
import { stampMarksOf, taskMark } from "../app/revocation-marks.ts";
import type { Broker } from "../brokers/broker.ts";
import type { ReceivedTask } from "../protocol/task-message.ts";
import type { ResultBackend } from "../results/result-backend.ts";
import { whenAborted } from "../shared/abort.ts";
import { countOf } from "../shared/count-of.ts";
import { errorText } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import type { BatchKeeper } from "./batch-keeper.ts";
import type { Chords } from "./chords.ts";
import { Capsule, type CapsuleHome, type CapsuleSetup } from "./capsule.ts";
import type { Consumer } from "./consumer.ts";
import { everyStep } from "./every-step.ts";
import { type Guard, makeGuard } from "./guard.ts";
import { makeGroupKeepers } from "./group-keepers.ts";
import type { Health } from "./health/health.ts";
import { Observers, type TaskObserver } from "./observer.ts";
import { KnownPauses } from "./pauses.ts";
import { KnownRevocations } from "./revocations.ts";
import type { Request } from "./request.ts";
import { Settler } from "./settle.ts";
import { settlementRulesOf } from "./settlement-rules.ts";
import { StateWriter } from "./state-writer.ts";
import { SuspectTurn } from "./suspect-turn.ts";
import type { Termination } from "./termination.ts";
import { within } from "./within.ts";

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
  /** At least one; no queue is in two of them. */
  readonly capsules: readonly CapsuleSetup[];
  /** undefined: nobody asks for this worker's health. */
  readonly health: Health | undefined;
  readonly logger: Logger;
  readonly observers: readonly TaskObserver[];
  /** It hears of revocations by the control channel. */
  readonly isListening: boolean;
}

/** Giving the lease back must not hold up an exit when the broker is away: it runs out by itself. */
const RELEASE_DEADLINE_MS = 500;
const VISIBILITY_TIMEOUT_MS = 3_600_000;
/** Revocations come by the control channel, and a channel that broke tells so; this is in case it did not. Without it, it is all there is. */
const REVOCATIONS_REFRESH_MS = 300_000;
const REVOCATIONS_REFRESH_UNHEARD_MS = 5000;

export class Engine {
  readonly revocations: KnownRevocations;
  readonly pauses: KnownPauses;
  readonly #setup: EngineSetup;
  /** Of all capsules. */
  readonly #queues: readonly string[];
  readonly #capsules: readonly Capsule[];
  readonly #settler: Settler;
  readonly #chords: Chords | undefined;
  readonly #batchKeeper: BatchKeeper | undefined;
  readonly #guard: Guard;
  readonly #stopTaking = new AbortController();
  readonly #statesEnd = new AbortController();
  #consuming: Promise<void> = Promise.resolve();
  #onFirstLease: (() => void) | undefined;
  #onFailure: ((error: unknown) => void) | undefined;
  #lossesSeen = 0;

  constructor(setup: EngineSetup) {
    this.#setup = setup;
    const { app, broker, backend, logger, worker, owner } = setup;
    const { settings, clock, random } = app;
    const queues = (this.#queues = setup.capsules.flatMap((capsule) => capsule.queues));
    const rules = settlementRulesOf(setup);
    const observers = new Observers(setup.health ? [...setup.observers, setup.health.meter] : setup.observers, logger);
    const brokerNow = (): number => this.brokerNow();
    const keepers = backend && makeGroupKeepers({ app, broker, backend, queues, workflows: rules.workflows, logger, brokerNow });
    this.#chords = keepers?.chords;
    this.#batchKeeper = keepers?.batchKeeper;
    this.#settler = new Settler({ broker, backend, chords: keepers?.chords, batches: keepers?.batches, clock, random, logger });
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
    this.pauses = new KnownPauses({ store: broker.pauses, queues, clock, random, logger, brokerNow });
    this.#guard = makeGuard({
      broker,
      spec: setup.guardSpec,
      options: {
        worker: owner,
        leaseMs: settings.leaseTimeMs,
        maxDeliveries: settings.maxDeliveries,
        visibilityTimeoutMs: visibilityTimeoutMs(app),
        queues,
      },
      queues,
      thread: setup.health?.thread,
      events: { renewed: () => this.#onRenewed(), lost: () => this.#onLeaseLost() },
      deps: { clock, random, logger },
    });
    const capsuleHome: CapsuleHome = {
      app,
      worker,
      owner,
      broker,
      logger,
      settler: this.#settler,
      states: backend && new StateWriter(backend, logger, this.#statesEnd.signal),
      rules,
      checkpoints: broker.checkpoints,
      observers,
      revocations: this.revocations,
      isListening: setup.isListening,
      pauses: this.pauses,
      suspectTurn: new SuspectTurn(),
      hasSucceeded: backend && settings.workerDeduplicateSuccessfulTasks ? (taskId) => hasSucceeded(app, taskId) : undefined,
      mayStart: broker.leases ? (monotonic) => this.#isLeaseSure(monotonic) : () => true,
      brokerNow,
      noteParked: (dueAt) => this.#guard.noteParked(dueAt),
      failed: (error) => this.#onFailure?.(error),
      noteTrouble: (text) => setup.health?.note("broker", text),
    };
    this.#capsules = setup.capsules.map((capsule) => new Capsule(capsule, capsuleHome));
    this.pauses.onChange(() => this.#onPauses());
  }

  /** Something of them changed: told also of what did before `begin` had resolved. */
  #onPauses(): void {
    for (const capsule of this.#capsules) capsule.giveBackPaused();
    this.#setup.health?.notePauses(this.pauses.list);
  }

  get capsules(): readonly Capsule[] {
    return this.#capsules;
  }
  get isConsuming(): boolean {
    return this.#capsules.every(({ isConsuming }) => isConsuming);
  }
  get running(): number {
    return this.#capsules.reduce((count, { running }) => count + running, 0);
  }
  /** What has been seen of the broker, by the capsule that has heard of it the longest ago. */
  get link(): Pick<Consumer, "answeredAt" | "connects"> {
    const times = this.#capsules.map(({ link }) => link.answeredAt ?? Number.NEGATIVE_INFINITY);
    const oldest = times.indexOf(Math.min(...times));
    return (this.#capsules[oldest] as Capsule).link;
  }

  /** Resolves when it consumes, or as soon as `signal` aborts. `onFailure`: consuming was given up. */
  async begin(signal: AbortSignal, onFailure: (error: unknown) => void): Promise<void> {
    const aborted = whenAborted(signal);
    const leased = new Promise<void>((resolve) => (this.#onFirstLease = resolve));
    this.#onFailure = onFailure;
    this.#guard.start();
    if (this.#setup.broker.leases) await Promise.race([leased, aborted]); // what is taken without a lease would be swept
    if (signal.aborted) return;
    // Before anything is taken that was revoked, or from a queue that was paused, while no worker was there.
    await Promise.race([Promise.all([this.revocations.load(), this.pauses.load()]), aborted]);
    if (signal.aborted) return;
    await Promise.race([this.#all((capsule) => capsule.beginLimits()), aborted]);
    if (signal.aborted) return;
    this.#batchKeeper?.start();
    this.#consuming = this.#all((capsule) => capsule.run(this.#stopTaking.signal).catch(onFailure));
    await Promise.race([this.#all((capsule) => capsule.whenConsuming()), aborted]);
    void this.#chords?.watch();
  }

  /** ms since 1970, by the broker's clock. */
  brokerNow(): number {
    return this.#setup.app.clock.now() + this.#guard.lease.clockOffsetMs;
  }

  /** Leaves no child behind. Rejects with what a hook of the children's end threw. */
  async stopPools(): Promise<void> {
    const stopped = await Promise.allSettled(this.#capsules.map((capsule) => capsule.stopPools()));
    for (const each of stopped) if (each.status === "rejected") throw each.reason;
  }

  async #all(act: (capsule: Capsule) => Promise<void>): Promise<void> {
    await Promise.all(this.#capsules.map(act));
  }

  /** Ends what runs under these marks, whether or not it heeds its signal. Returns what was there, running or waiting. */
  terminate(marks: ReadonlySet<string>, how: Termination): readonly ReceivedTask[] {
    const isMeant = (request: Request): boolean => isMarked(request, marks);
    return this.#capsules.flatMap((capsule) => capsule.terminate(isMeant, how));
  }

  /** Starts of a task per second in this worker; 0 for no limit. False for a task that is not here. */
  setRate(task: string, perSecond: number): boolean {
    if (this.#setup.app.tasks.get(task) === undefined) return false;
    for (const capsule of this.#capsules) capsule.setRate(task, perSecond);
    return true;
  }

  /** Limits were set by hand: which tasks are under one is read again. */
  limitsChanged(): void {
    for (const capsule of this.#capsules) capsule.refreshLimits();
  }

  #onRevoked(marks: ReadonlySet<string>): void {
    const isMeant = (request: Request): boolean => isMarked(request, marks);
    for (const capsule of this.#capsules) capsule.revoke(isMeant);
  }

  /** Takes nothing until `resumeTaking`, and gives back what has not started. Resolves when nothing arrives any more. */
  async pauseTaking(): Promise<void> {
    await this.#all(async (capsule) => {
      capsule.interruptIterations();
      const paused = capsule.pauseTaking();
      capsule.giveBackWaiting();
      await paused;
      if (!this.#stopTaking.signal.aborted) capsule.giveBackWaiting(); // a batch that was on its way
    });
  }

  /** Resolves when it consumes again, or is paused again. */
  resumeTaking(): Promise<void> {
    return this.#all((capsule) => capsule.resumeTaking());
  }

  /** Takes no more messages, and gives back those that have not started. */
  stopTaking(): void {
    const giveBack = (): void => {
      for (const capsule of this.#capsules) capsule.giveBack();
    };
    for (const capsule of this.#capsules) capsule.closeCredit();
    this.#stopTaking.abort(new Error("the worker stops"));
    for (const capsule of this.#capsules) capsule.interruptIterations();
    giveBack();
    void this.#consuming.then(giveBack); // a batch that was on its way
  }

  whenIdle(): Promise<void> {
    return this.#all((capsule) => capsule.whenIdle());
  }

  abortRunning(): void {
    for (const capsule of this.#capsules) capsule.abortRunning();
  }

  /** Gives up what runs. Returns how many. */
  interruptRunning(): number {
    return this.#capsules.reduce((count, capsule) => count + capsule.interruptRunning(), 0);
  }

  /** Waits at most `deadlineMs` until all is settled, then ends the lease. Never rejects: a step that fails ends none of those after it. */
  async end(deadlineMs: number, failed: (error: unknown) => void): Promise<void> {
    const { clock } = this.#setup.app;
    const steps = [
      () => within(clock, deadlineMs, this.#settleAll()),
      () => this.#batchKeeper?.stop(),
      () =>
        within(
          clock,
          RELEASE_DEADLINE_MS,
          this.#all((capsule) => capsule.stopLimits()),
        ),
      () => this.#abandon(),
      () => this.#guard.stop(),
      () => this.#release(),
    ];
    await everyStep(steps, failed);
  }

  async #settleAll(): Promise<void> {
    await this.#consuming;
    await this.#all((capsule) => capsule.endFolding());
    await this.#settler.whenIdle();
    await this.#batchKeeper?.whenIdle();
  }

  /** What is not done by now is left to others. */
  #abandon(): void {
    for (const capsule of this.#capsules) capsule.abandonLimits();
    for (const capsule of this.#capsules) capsule.abandonFolding();
    this.revocations.stop();
    this.pauses.stop();
    this.#settler.abandon();
    this.#statesEnd.abort(new Error("the worker has stopped"));
  }

  async #release(): Promise<void> {
    const late = new AbortController();
    await within(this.#setup.app.clock, RELEASE_DEADLINE_MS, this.#giveLeaseBack(late.signal));
    late.abort();
  }

  async #giveLeaseBack(late: AbortSignal): Promise<void> {
    const { broker, owner, logger } = this.#setup;
    try {
      const returned = (await broker.leases?.release(owner)) ?? 0;
      if (returned > 0) logger.info({ returned }, `gave back ${countOf(returned, "message")}`);
      if (!broker.delayed || !broker.leases || (await broker.leases.list()).length > 0) return;
      const parked = (await broker.depth(this.#queues)).reduce((sum, queue) => sum + queue.parked, 0);
      if (parked > 0) logger.warn({ parked }, `no worker is left to return ${countOf(parked, "parked message")} when due`);
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
    for (const capsule of this.#capsules) capsule.pump(); // bodies that were not started while the lease was unsure
  }

  #onLeaseLost(): void {
    const { losses } = this.#guard.lease;
    if (losses === this.#lossesSeen) return;
    this.#lossesSeen = losses;
    this.#setup.logger.error(
      { worker: this.#setup.worker },
      "this worker's lease ran out and its messages were given to others: what runs here is told to stop",
    );
    for (const capsule of this.#capsules) capsule.leaseLost();
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
