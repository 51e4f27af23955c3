/**
 * The worker: takes messages from an app's queues, runs their tasks, tells the broker what became of them.
 *
 * Its states, and what moves it between them, are in `life.ts`. A worker that cannot go on stops through the same
 * states and rejects `finished`. It never ends the process: that is the command line's.
 */
import { hostname } from "node:os";

import type { Lovage } from "../app/app.ts";
import { connectBroker } from "../app/connect.ts";
import { ConfigurationError } from "../app/errors.ts";
import { taskMark } from "../app/revocation-marks.ts";
import type { DeclaredQueue } from "../app/queues.ts";
import type { Broker } from "../brokers/broker.ts";
import { whenAborted } from "../shared/abort.ts";
import { countOf } from "../shared/count-of.ts";
import type { Timer } from "../shared/clock.ts";
import { errorText } from "../shared/errors.ts";
import { newId } from "../shared/ids.ts";
import type { Logger } from "../shared/log.ts";
import { Autoscale } from "./autoscale.ts";
import { bannerLines } from "./banner.ts";
import { connectPatiently } from "./connecting.ts";
import type { ControlAgent } from "./control/agent.ts";
import { isControlled, makeAgent } from "./control/make-agent.ts";
import { Engine } from "./engine.ts";
import { everyStep } from "./every-step.ts";
import { Health, type HealthOptions } from "./health/health.ts";
import type { VitalSigns } from "./health/sampler.ts";
import { isStopping, isWaiting, type LifeEvent, nextState, type StopHow, type WorkerState } from "./life.ts";
import { nodeName } from "./node-name.ts";
import { isPoolChild } from "./pool/child-marker.ts";
import { makePool, makePrimaryPool, type PoolSetup } from "./pool/make-pool.ts";
import type { Pool } from "./pool/pool.ts";
import { TaskLog } from "./task-log.ts";
import { type CapsulePlan, planCapsules } from "./capsule-plan.ts";
import { readTermination, type Termination } from "./termination.ts";
import { WorkerInPoolError, WorkerStoppedWhileStarting } from "./errors.ts";
import { within } from "./within.ts";
import type { WorkerOptions, WorkerStatus } from "./worker-options.ts";
import { statusOf, sum } from "./worker-status.ts";

/** After the grace, what still runs has this long to heed its signal. */
const ABORT_GRACE_MS = 2000;
/** The last settlements have at least this long, and what is left of the grace. */
const SETTLE_GRACE_MS = 1000;
const AUTOSCALE_LOOK_MS = 1000;

export class Worker implements AsyncDisposable {
  readonly app: Lovage;
  /** `celery@host`. */
  readonly name: string;
  /** Resolves when it has stopped; rejects with the reason when it could not go on. */
  readonly finished: Promise<void>;
  readonly #options: WorkerOptions;
  readonly #logger: Logger;
  /** A fresh one for each worker: a successor of the same name must not be taken for its predecessor. */
  readonly #owner: string;
  readonly #capsules: readonly CapsuleOfWorker[];
  /** Of the first capsule: what is resized, and scaled. */
  readonly #pool: Pool;
  #autoscaling: Timer | undefined;
  readonly #stopCalled = new AbortController();
  /** By the monotonic clock: how long a stop waits for what runs. */
  #waitEnd = Number.POSITIVE_INFINITY;
  #hurry: () => void = () => undefined;
  #state: WorkerState = "new";
  #isToBeQuiet: boolean;
  #engine: Engine | undefined;
  #control: ControlAgent | undefined;
  #ownBroker: Broker | undefined;
  #startup: Promise<void> | undefined;
  #started: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;
  #health: Health | undefined;
  #hooksBegun = false;
  #failure: unknown;
  #finish!: { readonly resolve: () => void; readonly reject: (reason: unknown) => void };
  #bannerOf: { readonly transport: string; readonly results: string | undefined } | undefined;

  /** @throws ConfigurationError for a queue or a pool that cannot be. */
  constructor(app: Lovage, options: WorkerOptions = {}) {
    this.app = app;
    this.#options = options;
    this.#isToBeQuiet = options.quiet ?? false;
    this.#logger = options.logger ?? app.logger;
    this.name = nodeName(options.name ?? "celery@%h", hostname());
    this.#owner = `${this.name}/${newId().slice(0, 8)}`;
    const poolSetup = {
      app,
      worker: this.name,
      logger: this.#logger,
      appModule: options.appModule,
      appExport: options.appExport,
      concurrency: options.autoscale?.min ?? options.concurrency,
    };
    this.#capsules = planCapsules(app, options, this.name).map((plan) => {
      const own = { ...poolSetup, concurrency: plan.concurrency ?? poolSetup.concurrency };
      return { plan, poolSetup: own, pool: makePrimaryPool(own) };
    });
    this.#pool = (this.#capsules[0] as CapsuleOfWorker).pool;
    this.finished = new Promise((resolve, reject) => (this.#finish = { resolve, reject }));
    this.finished.catch(() => undefined); // told to whoever asks; nobody has to
  }

  /** Resolves when it consumes. A broker that is away is waited for, unless `brokerConnectionRetryOnStartup` is false. */
  start(): Promise<void> {
    if (this.#started === undefined) {
      this.#startup = this.#start();
      this.#started = this.#startup.catch(async (error: unknown) => {
        if (!this.#stopCalled.signal.aborted) this.#failure = error;
        await this.stop("cold");
        throw error;
      });
    }
    return this.#started;
  }

  /**
   * Takes nothing more for now, and gives back what has not started; what runs goes on. Undone by `resume`. Resolves
   * when nothing arrives any more. A worker that has not started yet starts quiet; one that stops is not changed.
   */
  async quiet(): Promise<void> {
    this.#isToBeQuiet = true;
    await this.#startup?.catch(() => undefined); // told to whoever called start()
    if (!this.#isToBeQuiet) return;
    this.#beQuiet();
    if (this.#state === "quiet") await this.#engine?.pauseTaking();
  }

  /** Ends `quiet`. Resolves when it consumes. */
  async resume(): Promise<void> {
    this.#isToBeQuiet = false;
    await this.#startup?.catch(() => undefined);
    if (this.#isToBeQuiet || !this.#move("resume")) return;
    this.#logger.info({ worker: this.name }, `${this.name} resumes: it takes tasks again`);
    await Promise.race([this.#engine?.resumeTaking(), whenAborted(this.#stopCalled.signal)]);
  }

  /**
   * `warm` waits for what runs, at most `shutdownGrace`; `soft` at most `workerSoftShutdownTimeout`, and is cold where
   * that is 0; `cold` does not wait. Called again it hurries, from warm to soft to cold. Resolves when everything is
   * settled or given back and the lease is released.
   */
  stop(how: StopHow = "warm"): Promise<void> {
    this.#move(how);
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  status(): WorkerStatus {
    const pools = this.#capsules.map(({ pool }) => pool);
    return statusOf(this.#state, this.#engine, pools);
  }

  /**
   * Does not start this task any more, and aborts its signal if it runs here; with `terminate`, ends it if it does not heed
   * that. This worker only: `app.control.revoke` tells all.
   */
  revoke(taskId: string, options: { readonly terminate?: boolean } = {}): void {
    const marks = [taskMark(taskId)];
    if (options.terminate) this.#engine?.terminate(new Set(marks), readTermination() as Termination); // the default is known
    this.#engine?.revocations.revoke(marks, true);
  }

  /** What to print at the start. Names the broker once it is connected. */
  banner(version: string): string[] {
    return bannerLines({
      worker: this.name,
      version,
      app: this.app.name,
      transport: this.#bannerOf?.transport ?? "not connected yet",
      results: this.#bannerOf?.results,
      pool: this.#pool.kind,
      capsules: this.#capsules.map(({ plan, pool }) => ({ ...plan, concurrency: pool.size })),
      tasks: this.app.tasks.names(),
    });
  }

  get #queues(): readonly DeclaredQueue[] {
    return this.#capsules.flatMap(({ plan }) => plan.queues);
  }

  // --- start -------------------------------------------------------------------------------------------------------

  async #start(): Promise<void> {
    const { app } = this;
    if (isPoolChild()) throw new WorkerInPoolError(app.name);
    this.#move("start");
    await this.#openHealth();
    await app.loadTasks();
    this.#checkTasks();
    const broker = await this.#connect(() => this.#openBroker());
    const backend = await this.#connect(() => app.backend());
    this.#bannerOf = { transport: broker.location, results: backend?.location };
    await this.#connect(() => broker.bind(this.#queues.flatMap((queue) => queue.bindings)));
    if (this.#options.purge) for (const queue of this.#queues) await broker.purge(queue.name);
    this.#hooksBegun = true;
    await app.hooks.run("workerStart");
    await this.#startPools();
    const spec = app.brokerSpec("read");
    this.#engine = new Engine({
      app,
      worker: this.name,
      owner: this.#owner,
      broker,
      backend,
      guardSpec: spec.kind === "memory" ? undefined : spec, // memory is shared by nobody but this thread
      capsules: this.#capsules.map(({ plan: { name, queues, order }, pool, poolSetup }) => ({
        name,
        queues: queues.map((queue) => queue.name),
        fairQueues: new Set(queues.flatMap(({ name: queue, fair }) => (fair ? [queue] : []))),
        order,
        pool,
        makePool: (kind) => makePool(kind, poolSetup),
      })),
      health: this.#health,
      logger: this.#logger,
      observers: [new TaskLog(this.#logger), ...(this.#options.observers ?? [])],
      isListening: isControlled(this, broker),
    });
    if (this.#isToBeQuiet) void this.#engine.pauseTaking();
    this.#control = makeAgent(this, this.#engine, broker, this.#logger);
    this.#control?.start();
    await this.#engine.begin(this.#stopCalled.signal, (error) => this.#fail(error));
    if (this.#stopCalled.signal.aborted) throw new WorkerStoppedWhileStarting();
    this.#move("ready");
    if (this.#options.autoscale) this.#autoscale(new Autoscale(this.#options.autoscale, app.clock.monotonic()));
    this.#logger.info({ worker: this.name, queues: this.#queues.map((queue) => queue.name) }, `${this.name} ready.`);
    if (this.#isToBeQuiet) this.#beQuiet();
    else void this.#engine.resumeTaking(); // it may have been resumed since it was told to begin quietly
  }

  /** What children load and do at their start may take a minute: a stop does not wait for it. */
  async #startPools(): Promise<void> {
    const { signal } = this.#stopCalled;
    const stopped = whenAborted(signal);
    for (const [at, { pool }] of this.#capsules.entries()) {
      const events = { slotsChanged: () => this.#engine?.capsules[at]?.slotsChanged(), failed: (error: unknown) => this.#fail(error) };
      await Promise.race([pool.start(events), stopped]);
      signal.throwIfAborted();
    }
  }

  #beQuiet(): void {
    if (this.#move("quiet")) this.#logger.info({ worker: this.name }, `${this.name} is quiet: it takes no tasks until it is resumed`);
  }

  /** Before anything that can fail or take its time: a prober is told why the worker is not ready. */
  async #openHealth(): Promise<void> {
    const { settings, clock, random } = this.app;
    const port = this.#options.healthPort ?? settings.workerHealthPort;
    if (port === null) return;
    const host = settings.workerHealthHost;
    const options: HealthOptions = {
      worker: this.name,
      address: { host, port },
      blockedLimitMs: settings.workerBlockedLimitMs,
      capsules: this.#capsules.map(({ plan }) => plan.name),
    };
    const deps = { clock, random, logger: this.#logger };
    this.#health = new Health(options, () => this.#vitalSigns(), deps);
    const listensAt = await this.#health.open();
    this.#logger.info({ host, port: listensAt }, `health is served on http://${host}:${listensAt}/livez, /readyz and /metrics`);
  }

  #vitalSigns(): VitalSigns {
    const engine = this.#engine;
    return {
      status: this.status(),
      prefetch: sum(engine?.capsules, "prefetch"),
      answeredAt: engine?.link.answeredAt,
      connects: engine?.link.connects ?? 0,
    };
  }

  /** An option that is not accepted fails the start, not a task. */
  #checkTasks(): void {
    for (const name of this.app.tasks.names()) {
      const pool = this.app.tasks.get(name)?.options.pool;
      if (pool !== undefined && pool !== this.#pool.kind) makePool(pool, (this.#capsules[0] as CapsuleOfWorker).poolSetup); // nothing is started by it
    }
  }

  #autoscale(autoscale: Autoscale): void {
    const { clock } = this.app;
    this.#autoscaling = clock.timer(
      AUTOSCALE_LOOK_MS,
      () => {
        const { running = 0, waiting = 0 } = this.#engine?.capsules[0] ?? {};
        const { size } = this.#pool;
        const next = autoscale.next(size, running, waiting, clock.monotonic());
        if (next !== size) this.resize(next);
        this.#autoscale(autoscale);
      },
      { background: true },
    );
  }

  /** Gives the worker's own pool (with capsules: that of the first) more or fewer slots. What runs is not disturbed. */
  resize(slots: number): void {
    if (!Number.isSafeInteger(slots) || slots < 1)
      throw new ConfigurationError(`a pool cannot have ${slots} slots: it takes a whole number from 1`);
    this.#logger.info(
      { worker: this.name, from: this.#pool.size, to: slots },
      `${this.name} goes from ${this.#pool.size} to ${slots} slots`,
    );
    this.#pool.resize(slots);
  }

  /** Shares the app's connection, except where `brokerReadUrl` says to consume from elsewhere. */
  async #openBroker(): Promise<Broker> {
    const { settings, clock, random } = this.app;
    if (settings.brokerReadUrl === null) return this.app.broker();
    return (this.#ownBroker ??= await connectBroker(this.app.brokerSpec("read"), { logger: this.#logger, clock, random }));
  }

  #connect<T>(open: () => Promise<T>): Promise<T> {
    const trouble = (text: string | undefined): void => this.#health?.note("broker", text);
    return connectPatiently(open, { app: this.app, signal: this.#stopCalled.signal, logger: this.#logger, trouble });
  }

  /** Consuming was given up. */
  #fail(error: unknown): void {
    this.#failure = error;
    this.#health?.note("failure", errorText(error));
    this.#logger.error({ err: error, worker: this.name }, `${this.name} cannot go on: ${errorText(error)}`);
    void this.stop();
  }

  // --- stop --------------------------------------------------------------------------------------------------------

  /** Whether the state changed. A wait that was begun is never made longer. */
  #move(event: LifeEvent): boolean {
    const { clock, settings } = this.app;
    const softMs = settings.workerSoftShutdownTimeoutMs;
    const next = nextState(this.#state, event, softMs > 0);
    if (next === this.#state) return false;
    this.#state = next;
    if (isStopping(next)) {
      const waitMs = { warm: settings.shutdownGraceMs, soft: softMs, cold: 0 }[next];
      this.#waitEnd = Math.min(this.#waitEnd, clock.monotonic() + waitMs);
      this.#hurry();
    }
    this.#health?.sample();
    this.#options.onState?.(next);
    return true;
  }

  /** A step that fails ends none of those after it: the first error is what `finished` rejects with. */
  async #stop(): Promise<void> {
    const { clock, hooks } = this.app;
    this.#stopCalled.abort(new WorkerStoppedWhileStarting());
    await this.#startup?.catch(() => undefined); // told to whoever called start()
    this.#autoscaling?.cancel();
    const engine = this.#engine;
    const failed = (error: unknown): void => {
      this.#failure ??= error;
      this.#logger.error({ err: error, worker: this.name }, `${this.name} could not stop as it should: ${errorText(error)}`);
    };
    const steps = [
      () => engine?.stopTaking(),
      () => engine && this.#waitForRunning(engine),
      () => engine && this.#abortRunning(engine),
      () => engine?.end(Math.max(SETTLE_GRACE_MS, this.#waitEnd - clock.monotonic()), failed),
      () => this.#control?.stop(), // a stop may take long, and is controlled until its end
      () => this.#runHooks(() => (engine ? engine.stopPools() : this.#stopPools())),
      () => this.#hooksBegun && this.#runHooks(() => hooks.run("workerStop")),
      () => this.#ownBroker?.[Symbol.asyncDispose](),
      () => this.#health?.close(),
      () => this.#logger.info({ worker: this.name }, `${this.name} has stopped`),
      () => this.#move("ended"),
    ];
    await everyStep(steps, failed);
    if (this.#failure === undefined) this.#finish.resolve();
    else this.#finish.reject(this.#failure);
  }

  /** Until nothing runs or the wait is over; looks again when the stop hurries. */
  async #waitForRunning(engine: Engine): Promise<void> {
    const { clock, settings } = this.app;
    while (isWaiting(this.#state)) {
      const leftMs = this.#waitEnd - clock.monotonic();
      const waitsIdle = this.#state === "soft" && settings.workerEnableSoftShutdownOnIdle;
      if (leftMs <= 0 || (engine.running === 0 && !waitsIdle)) return;
      this.#logger.info(
        { running: engine.running, leftMs: Math.round(leftMs) },
        `${this.name} stops: waits up to ${(leftMs / 1000).toFixed(1)} s for ${engine.running} running tasks`,
      );
      const hurried = new Promise<void>((resolve) => (this.#hurry = resolve));
      await within(clock, leftMs, waitsIdle ? hurried : Promise.race([engine.whenIdle(), hurried]));
    }
  }

  async #abortRunning(engine: Engine): Promise<void> {
    if (engine.running === 0) return;
    this.#move("waited");
    this.#logger.warn({ running: engine.running }, `${this.name} aborts ${countOf(engine.running, "running task")}`);
    engine.abortRunning();
    await within(this.app.clock, ABORT_GRACE_MS, engine.whenIdle());
    const left = engine.interruptRunning();
    if (left > 0) this.#logger.warn({ tasks: left }, `${countOf(left, "task")} did not end: to be run again elsewhere`);
  }

  async #stopPools(): Promise<void> {
    for (const { pool } of this.#capsules) await pool.stop();
  }

  async #runHooks(run: () => Promise<void>): Promise<void> {
    try {
      await run();
    } catch (error) {
      this.#logger.error({ err: error }, `a hook failed while the worker stopped: ${errorText(error)}`);
    }
  }
}

interface CapsuleOfWorker {
  readonly plan: CapsulePlan;
  readonly poolSetup: PoolSetup;
  readonly pool: Pool;
}
