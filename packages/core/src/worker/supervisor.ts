/**
 * Keeps N worker processes running: starts them, starts a dead one again after a growing pause, passes signals on,
 * kills what does not stop in time, and gives up when they do not come up. Holds no user code, so nothing of the
 * user's can take it down.
 *
 * States of a child: starting (until it reports that it runs) -> up -> gone -> starting again, or, once the supervisor
 * stops or the child was told to stop by others, gone for good. A start that fails counts; five in a row, whichever
 * children they are, end everything.
 */
import type { ChildProcess } from "node:child_process";

import type { Clock, Random, Timer } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";
import { backoffMs } from "./backoff.ts";
import { isStopping, nextState, type WorkerState } from "./life.ts";
import { isReport, REPORT_EVERY_MS, type WorkerReport } from "./supervisor-link.ts";

export interface SupervisorOptions {
  readonly processes: number;
  /** Starts child number `index` with an IPC channel (`fork`, or `stdio` with `"ipc"`). It reports over it (`supervisor-link.ts`). */
  spawn(index: number, start: { readonly quiet: boolean }): ChildProcess;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Starts that fail in a row before it gives up. Default 5. */
  readonly maxFailedStarts?: number;
  /** A child reported something else than before, came or went, or a stop began. */
  readonly onChange?: () => void;
}

/** All its children together. */
export interface SupervisedStatus {
  readonly processes: number;
  /** That have reported lately, and take messages or were told not to. */
  readonly healthy: number;
  readonly consuming: number;
  /** Bodies that run. */
  readonly running: number;
  readonly state: "starting" | "running" | "quiet" | "warm" | "soft" | "cold";
}

const MAX_FAILED_STARTS = 5;
const RESTART = { baseMs: 1000, maxMs: 30_000 };
/** A child that stayed up that long starts again without having to wait for its past. */
const STEADY_MS = 60_000;
/** Children report every two seconds: one that has not for so long keeps its event loop busy, or stands still. */
const REPORT_STALE_MS = 7000;
/** A cold stop takes about two seconds. A process that is still there by then runs a task that never lets go of it. */
const COLD_DEADLINE_MS = 10_000;
const SECOND_LOOK_MS = 1000;

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #children = new Map<number, Child>();
  readonly #restarts = new Map<number, Timer>();
  /** Deaths of a child in quick succession. */
  readonly #deaths = new Map<number, number>();
  #failedStarts = 0;
  #state: WorkerState = "running";
  #hadAllUp = false;
  #wereSomeTold = false;
  #exitCode = 0;
  #killAt = Number.POSITIVE_INFINITY;
  #killing: Timer | undefined;
  #finish!: (exitCode: number) => void;
  /** The exit code, when all children are gone: 0 after a stop, 1 when it gave up. */
  readonly finished: Promise<number> = new Promise((resolve) => (this.#finish = resolve));

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  get pids(): number[] {
    return [...this.#children.values()].flatMap(({ process: { pid } }) => (pid === undefined ? [] : [pid]));
  }

  start(): void {
    for (let index = 0; index < this.#options.processes; index++) this.#spawn(index);
  }

  status(): SupervisedStatus {
    const now = this.#options.clock.monotonic();
    const reports = [...this.#children.values()].flatMap(({ report, reportedAt }) =>
      report !== undefined && now - reportedAt < REPORT_STALE_MS ? [report] : [],
    );
    const isUp = (this.#hadAllUp ||= this.#areAllUp());
    return {
      processes: this.#options.processes,
      healthy: reports.filter(({ state, isConsuming }) => isConsuming || state === "quiet" || isStopping(state)).length,
      consuming: reports.filter(({ isConsuming }) => isConsuming).length,
      running: reports.reduce((sum, { running }) => sum + running, 0),
      state: this.#isStopping || this.#state === "quiet" ? (this.#state as SupervisedStatus["state"]) : isUp ? "running" : "starting",
    };
  }

  /** Passes on what a signal asks for. Once it asked to stop, nothing is started again; asked to hurry a cold stop, it kills. */
  pass(ask: "warm" | "soft" | "quiet" | "resume", signal: NodeJS.Signals): void {
    const isStop = ask === "warm" || ask === "soft";
    if (isStop && this.#state === "cold") return this.#kill();
    const limits = [...this.#children.values()].flatMap(({ report }) => (report === undefined ? [] : [report.limits]));
    const graceMs = Math.max(0, ...limits.map((limit) => limit.graceMs));
    const softMs = Math.max(0, ...limits.map((limit) => limit.softMs));
    this.#state = nextState(this.#state, ask, softMs > 0);
    if (isStop) {
      this.#stopRestarting();
      this.#planKill(this.#state === "warm" ? graceMs : this.#state === "soft" ? softMs : 0);
    }
    for (const { process: child } of this.#children.values()) child.kill(signal);
    this.#options.onChange?.();
    this.#finishIfEmpty();
  }

  get #isStopping(): boolean {
    return isStopping(this.#state);
  }

  #areAllUp(): boolean {
    return this.#children.size === this.#options.processes && [...this.#children.values()].every(({ isUp }) => isUp);
  }

  #spawn(index: number): void {
    const { clock, logger, onChange } = this.#options;
    const child: Child = {
      process: this.#options.spawn(index, { quiet: this.#state === "quiet" }),
      startedAt: clock.monotonic(),
      isUp: false,
      report: undefined,
      reportedAt: 0,
      look: undefined,
    };
    this.#children.set(index, child);
    child.process.on("message", (message) => {
      if (!isReport(message)) return;
      const before = child.report;
      child.report = message;
      child.reportedAt = clock.monotonic();
      this.#planLook(index, child, message.limits.blockedMs);
      if (!child.isUp && (message.state === "running" || message.state === "quiet")) {
        child.isUp = true;
        this.#failedStarts = 0;
      }
      if (before?.state !== message.state || before.isConsuming !== message.isConsuming) onChange?.();
    });
    let isOver = false;
    const over = (how: string, code: number | null): void => {
      if (isOver) return;
      isOver = true;
      this.#onGone(index, child, how, code);
      onChange?.();
    };
    child.process.once("exit", (code, signal) => over(signal ?? `exit code ${code}`, code));
    child.process.once("error", (error) => {
      logger.error({ err: error, index }, `worker process ${index + 1} could not be started: ${error.message}`);
      if (child.process.pid === undefined) over("not started", null);
    });
  }

  #onGone(index: number, child: Child, how: string, code: number | null): void {
    const { clock, random, logger, maxFailedStarts = MAX_FAILED_STARTS } = this.#options;
    this.#children.delete(index);
    child.look?.cancel();
    if (this.#isStopping) return this.#finishIfEmpty();
    if (code === 0 && child.report?.state === "stopped") {
      logger.info({ index }, `worker process ${index + 1} was told to stop, and is not started again`);
      this.#wereSomeTold = true;
      return this.#finishIfEmpty();
    }
    if (!child.isUp && ++this.#failedStarts >= maxFailedStarts) return this.#giveUp(how);
    const deaths = clock.monotonic() - child.startedAt > STEADY_MS ? 0 : (this.#deaths.get(index) ?? 0);
    this.#deaths.set(index, deaths + 1);
    const delayMs = backoffMs(deaths, RESTART, random);
    const when = child.isUp ? "ended" : "did not come up";
    logger.error(
      { index, how, delayMs },
      `worker process ${index + 1} ${when} (${how}); it is started again in ${(delayMs / 1000).toFixed(1)} s`,
    );
    this.#restarts.set(
      index,
      clock.timer(delayMs, () => {
        this.#restarts.delete(index);
        this.#spawn(index);
      }),
    );
  }

  /** A child that reports no more keeps its event loop busy. Reports that came while this process stood still are read before the second look. */
  #planLook(index: number, child: Child, blockedMs: number | undefined): void {
    child.look?.cancel();
    if (blockedMs === undefined) return;
    const { clock, logger } = this.#options;
    const background = { background: true };
    const kill = (): void => {
      logger.error(
        { index, pid: child.process.pid, blockedMs },
        `worker process ${index + 1} has been busy with itself for ${blockedMs / 1000} s (worker_blocked_kill): a task keeps its event loop blocked. It is killed; its messages run again once its lease is over`,
      );
      child.process.kill("SIGKILL");
    };
    child.look = clock.timer(blockedMs + REPORT_EVERY_MS, () => (child.look = clock.timer(SECOND_LOOK_MS, kill, background)), background);
  }

  #giveUp(how: string): void {
    this.#options.logger.error(
      { failedStarts: this.#failedStarts, how },
      `${this.#failedStarts} starts in a row failed (the last: ${how}): giving up`,
    );
    this.#exitCode = 1;
    this.pass("warm", "SIGTERM");
  }

  #stopRestarting(): void {
    for (const timer of this.#restarts.values()) timer.cancel();
    this.#restarts.clear();
  }

  /** `waitMs`: what the children let their tasks have. */
  #planKill(waitMs: number): void {
    const { clock } = this.#options;
    this.#killAt = Math.min(this.#killAt, clock.monotonic() + waitMs + COLD_DEADLINE_MS);
    this.#killing?.cancel();
    this.#killing = clock.timer(this.#killAt - clock.monotonic(), () => this.#kill(), { background: true });
  }

  #kill(): void {
    for (const { process: child } of this.#children.values()) {
      this.#options.logger.warn(
        { pid: child.pid },
        "a worker process did not stop: a task keeps its event loop busy. It is killed; its messages run again once its lease is over",
      );
      child.kill("SIGKILL");
    }
  }

  #finishIfEmpty(): void {
    const isOver = this.#isStopping || (this.#wereSomeTold && this.#restarts.size === 0);
    if (!isOver || this.#children.size > 0) return;
    this.#killing?.cancel();
    this.#finish(this.#exitCode);
  }
}

interface Child {
  readonly process: ChildProcess;
  readonly startedAt: number;
  isUp: boolean;
  report: WorkerReport | undefined;
  reportedAt: number;
  look: Timer | undefined;
}
