/**
 * Runs tasks in children, threads or processes, one at a time in each. A child can be killed whatever it does: that is
 * how a hard limit holds. It is replaced at once; one that dies before it ever ran something after a pause that grows.
 *
 * States of a child: starting -> idle <-> busy (-> hooks -> idle) -> leaving (told to stop, or killed) -> gone.
 * Slots are the children that are idle, busy or in hooks. Invariant: a job has exactly one `done`, from its child's
 * answer, its hard limit, or its child's end, whichever comes first.
 */
import type { PoolName } from "../../app/task-options.ts";
import { SoftTimeLimitExceeded } from "../../protocol/celery-errors.ts";
import type { Clock, Random } from "../../shared/clock.ts";
import { errorText } from "../../shared/errors.ts";
import type { Logger } from "../../shared/log.ts";
import type { Outcome } from "../outcome.ts";
import type { SpawnChild } from "./child.ts";
import { ChildLostError, ChildStartError } from "./child-errors.ts";
import { pack, packOutcome, packThrown, unpack, unpackOutcome, unpackThrown } from "./crossing.ts";
import { factsOf } from "./job-facts.ts";
import { type Member, rank, type Running } from "./member.ts";
import type { ChildSetup, FromChild } from "./messages.ts";
import type { AbortForce, Pool, PoolEvents, PoolJob } from "./pool.ts";
import { RestartPause } from "./restart-pause.ts";

export interface ChildPoolOptions {
  readonly kind: Exclude<PoolName, "async">;
  readonly slots: number;
  readonly setup: ChildSetup;
  readonly spawn: SpawnChild;
  /** A child is replaced after so many jobs; undefined never. */
  readonly maxTasks: number | undefined;
  /** A child is replaced when it is larger after a job, in KiB; undefined never. */
  readonly maxMemoryKib: number | undefined;
  /** A child that has not said by then that its program runs is replaced. */
  readonly aliveTimeoutMs: number;
  /** What a dead child had still said is waited for, at most that long. */
  readonly lostWaitMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Loading the user's modules, and their `onChildStart`, may take so long. */
const LOAD_DEADLINE_MS = 60_000;
/** A job that was asked to end has this long before its child is killed: less than a worker waits when it aborts. */
const KILL_GRACE_MS = 1500;
/** Children that were told to stop have this long for their hooks. */
const STOP_GRACE_MS = 2000;
/** A killed thread may be inside a native call that cannot be ended; nobody waits for that for ever. */
const GONE_DEADLINE_MS = 5000;
const MAX_FAILED_STARTS = 5;

export class ChildPool implements Pool {
  readonly kind: Exclude<PoolName, "async">;
  readonly #options: ChildPoolOptions;
  readonly #members = new Set<Member>();
  readonly #byJob = new Map<PoolJob, Member>();
  /** Jobs that came while their child was just lost. */
  #waiting: PoolJob[] = [];
  readonly #idle: Member[] = [];
  #events: PoolEvents | undefined;
  #wanted: number;
  #slots = 0;
  #jobs = 0;
  readonly #pause: RestartPause;
  #isStopping = false;
  #stopped: Promise<void> | undefined;
  #whenAllGone: (() => void) | undefined;
  #started: { readonly resolve: () => void; readonly reject: (error: unknown) => void } | undefined;

  constructor(options: ChildPoolOptions) {
    this.#options = options;
    this.kind = options.kind;
    this.#wanted = options.slots;
    this.#pause = new RestartPause(options, () => this.#balance());
  }

  get slots(): number {
    return this.#slots;
  }

  get size(): number {
    return this.#wanted;
  }

  /** @throws what kept a child from starting: ModuleLoadError with the module's path, the error of a hook */
  async start(events: PoolEvents): Promise<void> {
    const started = new Promise<void>((resolve, reject) => (this.#started = { resolve, reject }));
    this.#balance();
    try {
      await started;
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#events = events;
  }

  run(job: PoolJob): void {
    const member = this.#idle.pop();
    if (member === undefined) this.#waiting.push(job);
    else this.#give(member, job);
  }

  abort(job: PoolJob, reason: Error, force: AbortForce = "later"): void {
    const member = this.#byJob.get(job);
    if (member === undefined) return this.#abortWaiting(job, reason);
    if (member.running?.job !== job || member.running.reported !== undefined) return;
    const { running } = member;
    const kill = (): void => this.#kill(member, { kind: "failed", error: reason, isWeighed: true });
    job.abort(reason);
    if (force === "now") return kill();
    member.child.send({ kind: "abort", job: running.number, reason: packThrown(reason) });
    if (force === "none" || reason instanceof SoftTimeLimitExceeded) return; // its hard limit is what ends it
    running.timers.push(this.#options.clock.timer(KILL_GRACE_MS, kill));
  }

  /** It has not begun, and does not any more; a soft limit is for what runs. */
  #abortWaiting(job: PoolJob, reason: Error): void {
    const at = this.#waiting.indexOf(job);
    if (at === -1 || reason instanceof SoftTimeLimitExceeded) return;
    this.#waiting.splice(at, 1);
    job.abort(reason);
    job.done({ kind: "failed", error: reason, isWeighed: true });
  }

  interrupt(job: PoolJob): void {
    const running = this.#byJob.get(job)?.running;
    if (running?.job === job) this.#byJob.get(job)?.child.send({ kind: "interrupt", job: running.number });
  }

  runEndHooks(job: PoolJob, outcome: Outcome): Promise<void> | undefined {
    const member = this.#byJob.get(job);
    const running = member?.running;
    if (member === undefined || running === undefined) return undefined;
    const other = outcome === running.reported ? undefined : packOutcome(outcome, false);
    return new Promise((resolve, reject) => {
      running.hooksEnded = (error) => (error === undefined ? resolve() : reject(error));
      member.child.send({ kind: "endHooks", job: running.number, outcome: other });
    });
  }

  resize(slots: number): void {
    this.#wanted = slots;
    this.#balance();
    this.#tellStarted();
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#isStopping = true;
    this.#pause.cancel();
    const { clock } = this.#options;
    for (const member of this.#members) {
      if (member.state === "idle") this.#tellToStop(member);
      else if (member.state !== "leaving") this.#kill(member, { kind: "interrupted" });
    }
    for (const job of this.#waiting.splice(0)) job.done({ kind: "interrupted" });
    if (this.#members.size === 0) return;
    await new Promise<void>((resolve) => {
      const late = clock.timer(STOP_GRACE_MS + GONE_DEADLINE_MS, () => {
        this.#options.logger.error({ children: this.#members.size }, `${this.#members.size} ${this.kind} of the pool did not end`);
        resolve();
      });
      this.#whenAllGone = () => {
        late.cancel();
        resolve();
      };
    });
  }

  // --- children ------------------------------------------------------------------------------------------------------

  /** Starts what is missing, and lets go of what is too much. */
  #balance(): void {
    if (this.#isStopping) return this.#count();
    const staying = [...this.#members].filter((member) => member.state !== "leaving" && !member.leavesNext);
    if (!this.#pause.isOn) for (let i = staying.length; i < this.#wanted; i++) this.#spawn();
    const surplus = staying.toSorted((a, b) => rank(a) - rank(b)).slice(0, Math.max(0, staying.length - this.#wanted));
    for (const member of surplus) {
      if (member.running) member.leavesNext = true;
      else this.#tellToStop(member);
    }
    this.#count();
  }

  #spawn(): void {
    const { setup, spawn, clock, aliveTimeoutMs, lostWaitMs } = this.#options;
    let member: Member | undefined;
    const child = spawn(
      { name: `lovage-${this.kind}`, clock, lostWaitMs },
      {
        message: (message) => member && this.#hear(member, message),
        exited: (how, error) => member && this.#onExit(member, how, error),
      },
    );
    member = {
      child,
      state: "starting",
      running: undefined,
      deadline: undefined,
      jobsDone: 0,
      leavesNext: false,
      error: undefined,
    };
    this.#members.add(member);
    this.#expect(member, clock, aliveTimeoutMs, `has not said within ${aliveTimeoutMs / 1000} s that it runs (workerProcAliveTimeout)`);
    child.send({ kind: "setup", setup });
  }

  /** Kills a child that says nothing for too long while it starts. */
  #expect(member: Member, clock: Clock, withinMs: number, problem: string): void {
    member.deadline?.cancel();
    member.deadline = clock.timer(withinMs, () => {
      member.error = new ChildStartError(`${member.child.label} ${problem}`);
      member.child.kill();
    });
  }

  #hear(member: Member, message: FromChild): void {
    switch (message.kind) {
      case "alive":
        if (member.state === "starting")
          this.#expect(member, this.#options.clock, LOAD_DEADLINE_MS, `has not loaded its modules within ${LOAD_DEADLINE_MS / 1000} s`);
        return;
      case "ready":
        return this.#onReady(member);
      case "failed":
        member.error = unpackThrown(message.error);
        return;
      case "done":
        return this.#onDone(member, message);
      case "state":
        return this.#onState(member, message);
      case "checkpoint":
        return this.#onCheckpoint(member, message);
      case "hooksDone":
        return this.#onHooksDone(member, message);
      case "log":
        return this.#options.logger[message.level](message.fields, message.message);
    }
  }

  #onReady(member: Member): void {
    if (member.state !== "starting") return;
    member.deadline?.cancel();
    member.deadline = undefined;
    this.#pause.succeeded();
    this.#becomeIdle(member);
    this.#tellStarted();
  }

  #tellStarted(): void {
    if (this.#started === undefined || this.#slots < this.#wanted) return;
    this.#started.resolve();
    this.#started = undefined;
  }

  #onExit(member: Member, how: string, error: unknown): void {
    const wasStarting = member.state === "starting";
    const wasIdle = member.state === "idle" && member.jobsDone === 0;
    const wasLeaving = member.state === "leaving";
    this.#members.delete(member);
    this.#forgetIdle(member);
    member.deadline?.cancel();
    member.state = "leaving";
    const cause = member.error ?? error;
    const { running } = member;
    if (!wasLeaving && !wasStarting && !running && !this.#isStopping) {
      const why = cause === undefined ? how : `${how}: ${errorText(cause)}`;
      this.#options.logger.error({ err: cause }, `${member.child.label} of the pool ended while it had nothing to do: ${why}`);
    }
    if (running) this.#release(member);
    if (wasStarting || wasIdle) this.#startFailed(cause ?? new ChildStartError(`${member.child.label} ended while it started: ${how}`));
    this.#balance();
    if (running?.reported === undefined)
      running?.job.done({ kind: "childLost", error: new ChildLostError(member.child.label, how, cause) });
    running?.hooksEnded?.(new ChildLostError(member.child.label, how, cause));
    if (this.#members.size === 0) this.#whenAllGone?.();
  }

  #startFailed(error: unknown): void {
    if (this.#isStopping) return;
    if (this.#started) {
      this.#started.reject(error);
      this.#started = undefined;
      return;
    }
    this.#pause.failed();
    if (this.#pause.failures >= MAX_FAILED_STARTS && this.#slots === 0) this.#events?.failed(error);
    else this.#pause.begin(error);
  }

  #becomeIdle(member: Member): void {
    if (member.leavesNext || this.#isStopping) return this.#tellToStop(member);
    member.state = "idle";
    const next = this.#waiting.shift();
    if (next) this.#give(member, next);
    else this.#idle.push(member);
    this.#count();
  }

  #tellToStop(member: Member): void {
    this.#forgetIdle(member);
    member.state = "leaving";
    member.deadline?.cancel();
    member.deadline = this.#options.clock.timer(STOP_GRACE_MS, () => member.child.kill());
    member.child.send({ kind: "stop" });
    this.#balance();
  }

  /** Its job comes to `outcome`, unless it had come to something before. */
  #kill(member: Member, outcome: Outcome): void {
    const { running } = member;
    this.#forgetIdle(member);
    member.state = "leaving";
    member.child.kill();
    if (running) this.#release(member);
    this.#balance();
    if (running?.reported === undefined) running?.job.done(outcome);
    running?.hooksEnded?.(new ChildLostError(member.child.label, "it was killed", undefined));
  }

  #forgetIdle(member: Member): void {
    const at = this.#idle.indexOf(member);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  #count(): void {
    let slots = 0;
    for (const { state, leavesNext } of this.#members) if (state !== "starting" && state !== "leaving" && !leavesNext) slots += 1;
    if (slots === this.#slots) return;
    this.#slots = slots;
    this.#events?.slotsChanged();
  }

  // --- jobs ----------------------------------------------------------------------------------------------------------

  #give(member: Member, job: PoolJob): void {
    const running: Running = { number: ++this.#jobs, job, timers: [], reported: undefined, hooksEnded: undefined };
    member.state = "busy";
    member.running = running;
    this.#byJob.set(job, member);
    try {
      const transfer: ArrayBuffer[] = [];
      const facts = pack(factsOf(job.context), transfer);
      member.child.send({ kind: "run", job: running.number, facts }, transfer);
    } catch (error) {
      this.#release(member);
      this.#becomeIdle(member);
      job.done({ kind: "failed", error });
      return;
    }
    this.#watch(member, running);
  }

  #watch(member: Member, { job, timers, number }: Running): void {
    const { clock } = this.#options;
    const { softTimeLimitMs, timeLimitMs } = job;
    if (softTimeLimitMs !== undefined) {
      timers.push(
        clock.timer(softTimeLimitMs, () => {
          job.softLimitReached(softTimeLimitMs);
          member.child.send({ kind: "abort", job: number, reason: packThrown(new SoftTimeLimitExceeded(softTimeLimitMs / 1000)) });
        }),
      );
    }
    if (timeLimitMs !== undefined) {
      timers.push(clock.timer(timeLimitMs, () => this.#kill(member, { kind: "timedOut", limitMs: timeLimitMs })));
    }
  }

  #onDone(member: Member, { job: number, outcome, children, each, iterated, memoryKib }: Extract<FromChild, { kind: "done" }>): void {
    const { running } = member;
    if (running?.number !== number || running.reported !== undefined) return;
    if (each) running.job.noteEach(each.map(unpackOutcome));
    if (iterated) running.job.noteIterated(iterated);
    for (const child of children) running.job.addChild(child);
    member.jobsDone += 1;
    member.leavesNext ||= this.#isUsedUp(member, memoryKib);
    const { job } = running;
    running.reported = unpackOutcome(outcome);
    if (job.hasEndHooks) {
      member.state = "hooks"; // its limits go on until they have ended, as in Celery
    } else {
      this.#release(member);
      this.#becomeIdle(member);
    }
    job.done(running.reported);
    // Hooks are asked for at once or after its result is stored; an outcome that is followed by none frees the child.
  }

  #isUsedUp(member: Member, memoryKib: number): boolean {
    const { maxTasks, maxMemoryKib, logger } = this.#options;
    if (maxTasks !== undefined && member.jobsDone >= maxTasks) return true;
    if (maxMemoryKib === undefined || memoryKib <= maxMemoryKib) return false;
    logger.warn(
      { memoryKib, maxMemoryKib },
      `${member.child.label} of the pool is replaced: it takes ${memoryKib} KiB, more than ${maxMemoryKib}`,
    );
    return true;
  }

  #onState(member: Member, { job: number, call, state, meta, children }: Extract<FromChild, { kind: "state" }>): void {
    const { running } = member;
    const stored = (): void => member.child.send({ kind: "stored", call });
    if (running?.number !== number) return stored();
    for (const child of children) running.job.addChild(child);
    void running.job.storeState(state, unpack(meta)).then(stored);
  }

  #onCheckpoint(member: Member, { job: number, call, iterated }: Extract<FromChild, { kind: "checkpoint" }>): void {
    const { running } = member;
    const stored = (): void => member.child.send({ kind: "stored", call });
    if (running?.number !== number) return stored();
    running.job.noteIterated(iterated);
    void running.job.checkpoint(iterated.text).then(stored);
  }

  #onHooksDone(member: Member, { job: number, error }: Extract<FromChild, { kind: "hooksDone" }>): void {
    const { running } = member;
    if (running?.number !== number) return;
    this.#release(member);
    this.#becomeIdle(member);
    running.hooksEnded?.(error && unpackThrown(error));
  }

  #release(member: Member): void {
    const { running } = member;
    if (running === undefined) return;
    for (const timer of running.timers) timer.cancel();
    this.#byJob.delete(running.job);
    member.running = undefined;
  }
}
