/**
 * One group of a worker's queues, with slots of its own: what it takes, what waits for them, what runs in them. All else (the broker's
 * connection, lease, guard, settler, shutdown) it shares with the other capsules of its worker; most workers have one.
 */
import type { Lovage } from "../app/app.ts";
import type { PoolName } from "../app/task-options.ts";
import type { Broker, Checkpoints } from "../brokers/broker.ts";
import type { QueueOrder } from "../brokers/queue-order.ts";
import { contentTypesFor } from "../protocol/serializers.ts";
import type { ReceivedTask } from "../protocol/task-message.ts";
import type { Logger } from "../shared/log.ts";
import { Consumer } from "./consumer.ts";
import { type CreditLimits, LoanCredit } from "./credit.ts";
import { Dispatcher } from "./dispatcher.ts";
import type { SettlementRules } from "./ended-run.ts";
import { Folding } from "./folding.ts";
import { Intake } from "./intake.ts";
import { Lanes } from "./lanes.ts";
import type { LimitGate } from "./limits/gate.ts";
import { makeGate } from "./limits/make-gate.ts";
import type { TaskObserver } from "./observer.ts";
import type { KnownPauses } from "./pauses.ts";
import type { Pool } from "./pool/pool.ts";
import type { Request } from "./request.ts";
import type { KnownRevocations } from "./revocations.ts";
import type { Settler } from "./settle.ts";
import type { StateWriter } from "./state-writer.ts";
import type { SuspectTurn } from "./suspect-turn.ts";
import type { Termination } from "./termination.ts";
import type { CapsuleStatus } from "./worker-options.ts";

export interface CapsuleSetup {
  readonly name: string;
  readonly queues: readonly string[];
  /** Those of them that are taken by turns among keys. */
  readonly fairQueues: ReadonlySet<string>;
  /** undefined: in equal shares. */
  readonly order: QueueOrder | undefined;
  /** Its own, started. */
  readonly pool: Pool;
  /** Another one that a task asks for, not started. */
  makePool(kind: PoolName): Pool;
}

/** What all capsules of a worker share. */
export interface CapsuleHome {
  readonly app: Lovage;
  /** `celery@host`. */
  readonly worker: string;
  /** Under which loans and lease are kept. */
  readonly owner: string;
  readonly broker: Broker;
  readonly logger: Logger;
  readonly settler: Settler;
  readonly states: StateWriter | undefined;
  readonly rules: SettlementRules;
  readonly checkpoints: Checkpoints | undefined;
  readonly observers: Required<TaskObserver>;
  readonly revocations: KnownRevocations;
  /** It hears of changes by the control channel. */
  readonly isListening: boolean;
  readonly pauses: KnownPauses;
  readonly suspectTurn: SuspectTurn;
  readonly hasSucceeded: ((taskId: string) => Promise<boolean>) | undefined;
  mayStart(monotonic: number): boolean;
  brokerNow(): number;
  noteParked(dueAt: number): void;
  /** A pool cannot go on. */
  failed(error: unknown): void;
  /** The broker is away, in words; undefined once it answers again. */
  noteTrouble(text: string | undefined): void;
}

/** Near ETAs that wait in memory, unless `workerEtaTaskLimit` says otherwise. */
const ETA_MAX = 1000;
/** Until a message is tried again whose limits nobody could tell. */
const POSTPONED_MS = 5000;
/** Loans per slot, while settlements are on the way. */
const LOANS_PER_SLOT = 2;

export class Capsule {
  readonly name: string;
  readonly queues: readonly string[];
  readonly #app: Lovage;
  readonly #credit: LoanCredit;
  readonly #lanes: Lanes;
  readonly #dispatcher: Dispatcher;
  readonly #intake: Intake;
  /** undefined: the broker has no limits for all workers. */
  readonly #gate: LimitGate | undefined;
  /** undefined: the broker keeps no groups of calls. */
  readonly #folding: Folding | undefined;
  readonly #consumer: Consumer;

  constructor({ name, queues, fairQueues, order, pool, makePool }: CapsuleSetup, home: CapsuleHome) {
    const { app, broker, logger, owner, settler, observers, rules, pauses, revocations, brokerNow } = home;
    const { settings, clock, random } = app;
    this.name = name;
    this.queues = queues;
    this.#app = app;
    this.#lanes = new Lanes(pool, makePool, { slotsChanged: () => this.slotsChanged(), failed: (error) => home.failed(error) });
    this.#credit = new LoanCredit(this.#creditLimits());
    this.#gate = makeGate({
      app,
      broker,
      owner,
      queues,
      paused: pauses,
      logger,
      credit: this.#credit,
      observers,
      isListening: home.isListening,
      pass: (requests) => this.#intake.passed(requests),
      postpone: (request) => this.#intake.park(request, brokerNow() + POSTPONED_MS),
      putBack: (requests) => this.#dispatcher.putBack(requests),
    });
    this.#dispatcher = new Dispatcher({
      app,
      hostname: home.worker,
      owner,
      clock,
      random,
      logger,
      lanes: this.#lanes,
      credit: this.#credit,
      settler,
      states: home.states,
      rules,
      checkpoints: home.checkpoints,
      observers,
      suspectTurn: home.suspectTurn,
      park: broker.delayed && ((request, dueAt) => this.#intake.park(request, dueAt)),
      left: this.#gate && ((request) => this.#gate?.left(request)),
      isRevoked: ({ received }) => !revocations.isEmpty && revocations.has(received),
      mayStart: (monotonic) => home.mayStart(monotonic),
      brokerNow,
    });
    this.#folding =
      broker.aggregates &&
      new Folding({
        aggregates: broker.aggregates,
        clock,
        random,
        logger,
        credit: this.#credit,
        codec: { serializer: settings.taskSerializer },
        brokerNow,
        rulesOf: (task) => app.tasks.get(task)?.options.aggregate,
        folded: (request) => {
          this.#gate?.left(request);
          observers.setAside(request, "parked");
        },
        lost: (request) => {
          this.#gate?.left(request);
          observers.lost(request);
        },
      });
    this.#intake = new Intake({
      folding: this.#folding,
      broker,
      clock,
      random,
      logger,
      credit: this.#credit,
      settler,
      dispatcher: this.#dispatcher,
      gate: this.#gate,
      observers,
      rules,
      revocations,
      pauses,
      limits: {
        accept: contentTypesFor(settings.acceptContent),
        unknownTaskTtlMs: settings.unknownTaskTtlMs,
        parkThresholdMs: settings.parkThresholdMs,
        etaMax: settings.workerEtaTaskLimit ?? ETA_MAX,
        suspectsMax: pool.slots,
        ignoresRateLimits: settings.workerDisableRateLimits,
        throttledMax: pool.slots,
      },
      hasSucceeded: home.hasSucceeded,
      findTask: (task) => app.tasks.get(task),
      suggestTask: (task) => app.tasks.suggestion(task),
      brokerNow,
      noteParked: (dueAt) => home.noteParked(dueAt),
    });
    this.#consumer = new Consumer({
      broker,
      queues,
      fairQueues,
      order,
      owner,
      credit: this.#credit,
      paused: pauses,
      clock,
      random,
      logger,
      maxRestarts: settings.brokerConnectionRetry ? settings.brokerConnectionMaxRetries : 0,
      onBatch: (batch) => this.#intake.take(batch),
      onStaleBatch: (batch) => this.#intake.giveBack(batch),
      onTrouble: (text) => home.noteTrouble(text),
    });
  }

  get isConsuming(): boolean {
    return this.#consumer.isConsuming;
  }
  /** Of all pools that are up. */
  get slots(): number {
    return this.#lanes.slots;
  }
  get running(): number {
    return this.#dispatcher.tasks.size;
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

  status(): CapsuleStatus {
    const { name, queues, isConsuming: consuming, slots, running, waiting, scheduled, onLoan, processed } = this;
    return { name, queues, consuming, slots, running, waiting, scheduled, onLoan, processed };
  }

  /** Resolves when `signal` aborts. Rejects when it gave up. */
  run(signal: AbortSignal): Promise<void> {
    const { tasks } = this.#app;
    if (tasks.names().some((name) => tasks.get(name)?.definition.aggregate !== undefined)) this.#folding?.begin();
    return this.#consumer.run(signal);
  }

  whenConsuming(): Promise<void> {
    return this.#consumer.whenConsuming();
  }

  /** Children came or went, or a pool was resized: what is taken follows. */
  slotsChanged(): void {
    this.#credit.resize(this.#creditLimits());
    this.#dispatcher.pump();
  }

  /** Starts what can start. */
  pump(): void {
    this.#dispatcher.pump();
  }

  /** Leaves no child behind. Rejects with what a hook of the children's end threw. */
  stopPools(): Promise<void> {
    return this.#lanes.stop();
  }

  /** Ends what is meant, whether or not it heeds its signal. Returns what was there, running or waiting. */
  terminate(isMeant: (request: Request) => boolean, how: Termination): readonly ReceivedTask[] {
    const running = this.#dispatcher.tasks.terminate(isMeant, how);
    if (how.force === "soft") return running;
    return [...running, ...this.#dispatcher.discardWaiting(isMeant), ...this.#intake.discardWaiting(isMeant)];
  }

  revoke(isMeant: (request: Request) => boolean): void {
    this.#dispatcher.tasks.revoke(isMeant);
    this.#dispatcher.discardWaiting(isMeant);
    this.#intake.discardWaiting(isMeant);
  }

  /** Resolves when the limits for all workers are known. @throws ConfigurationError */
  async beginLimits(): Promise<void> {
    await this.#gate?.begin();
  }

  refreshLimits(): void {
    this.#gate?.refresh();
  }

  async stopLimits(): Promise<void> {
    await this.#gate?.stop();
  }

  abandonLimits(): void {
    this.#gate?.abandon();
  }

  setRate(task: string, perSecond: number): void {
    this.#intake.setRate(task, perSecond);
  }

  giveBackPaused(): void {
    this.#intake.giveBackPaused();
  }

  /** Takes nothing until `resumeTaking`. Resolves when nothing arrives any more. */
  pauseTaking(): Promise<void> {
    return this.#consumer.pause();
  }

  /** Resolves when it consumes again, or is paused again. */
  resumeTaking(): Promise<void> {
    this.#consumer.resume();
    return this.#consumer.whenConsuming();
  }

  /** What has not started; it may take more. */
  giveBackWaiting(): void {
    this.#intake.stop();
    this.#dispatcher.putBackWaiting();
  }

  /** Tasks in steps end after the one they are at, and go back. */
  interruptIterations(): void {
    this.#dispatcher.tasks.interruptIterations();
  }

  /** Nothing is taken any more. */
  closeCredit(): void {
    this.#credit.close();
  }

  /** Nothing starts any more. */
  giveBack(): void {
    this.#intake.stop();
    this.#dispatcher.stopStarting();
  }

  /** Resolves when no call is on its way to its group. */
  async endFolding(): Promise<void> {
    await this.#folding?.end();
  }

  abandonFolding(): void {
    this.#folding?.abandon();
  }

  whenIdle(): Promise<void> {
    return this.#dispatcher.whenIdle();
  }

  abortRunning(): void {
    this.#dispatcher.tasks.abortAll();
  }

  /** Gives up what runs. Returns how many. */
  interruptRunning(): number {
    return this.#dispatcher.interruptRunning();
  }

  leaseLost(): void {
    this.#consumer.startOver(); // an answer that is still on its way may bring loans that were taken away since
    this.#intake.stop();
    this.#dispatcher.leaseLost();
  }

  #creditLimits(): CreditLimits {
    const { settings } = this.#app;
    const { slots } = this.#lanes;
    const prefetch = settings.workerDisablePrefetch ? 1 : settings.workerPrefetchMultiplier || LOANS_PER_SLOT;
    const most = Math.floor(slots * prefetch);
    return { busy: Math.max(slots, most), held: Math.max(slots * LOANS_PER_SLOT, most) };
  }
}
